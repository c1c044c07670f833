"""Cuts the logged-variance case out of the golden `parts` file, without PyTorch.

    python extract.py PATH/TO/parts/tensors.safetensors

`variance.in` [3, 4, 5] is random; `variance.out` is what fairseq's data2vec (commit 3d262bb) logs for it as
`target_var`: rows flattened, sqrt(unbiased variance + 1e-6) of each feature, mean over features. Float32, PyTorch 2.11.
"""

import json
import struct
import sys
from pathlib import Path

NAMES = ("variance.in", "variance.out")

source = Path(sys.argv[1]).read_bytes()
(header_length,) = struct.unpack("<Q", source[:8])
header = json.loads(source[8 : 8 + header_length])
data = source[8 + header_length :]

kept_header, kept_data = {}, b""
for name in NAMES:
    entry = header[name]
    begin, end = entry["data_offsets"]
    kept_header[name] = entry | {"data_offsets": [len(kept_data), len(kept_data) + end - begin]}
    kept_data += data[begin:end]

encoded = json.dumps(kept_header).encode()
encoded += b" " * (-len(encoded) % 8)  # the format aligns the data to 8 bytes
target = Path(__file__).with_name("tensors.safetensors")
target.write_bytes(struct.pack("<Q", len(encoded)) + encoded + kept_data)

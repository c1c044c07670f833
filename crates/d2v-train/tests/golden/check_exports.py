"""Checks with transformers itself what `d2v export --format hf` writes, for each modality.

usage: check_exports.py D2V [--transformers 4.57.1] [--python PYTHON] [--torch-index URL]
                        [--tolerance 1e-5] [--keep FOLDER]

D2V             the built program, such as target/release/d2v
--transformers  release to check with; `5.*` is the newest 5 (default 4.57.1, which made the stored numbers)
--python        take torch, and what else it has, from this interpreter's environment instead of installing it; nothing
                is changed there
--torch-index   where pip finds torch without --python (default: PyTorch's index of builds without CUDA)
--tolerance     largest absolute difference (default 1e-5)
--keep          a new folder for runs, exports and features instead of a temporary one

Makes a throw-away virtual environment, which is removed at the end, and there for images, speech and text:

trained  draws inputs, runs `d2v pretrain` on a small network (two updates), `d2v export` (student and teacher) and `d2v embed
         --layer last --pool tokens` on the inputs; loads the export with `from_pretrained`, makes inputs of the same files with
         the exported processor or tokenizer, and compares the last hidden state at every real position. Samples differ in
         length, so padding is part of it.
golden   runs `d2v import` and `d2v export` on the model in the folder `hf_*` beside this script, loads the export, and
         compares every layer with the hidden states stored there.

Exit status 1 when a tensor is missing, unexpected or of another shape, a sample has another number of tokens, or a value
differs by more than the tolerance. Needs Python 3.10 or newer, and the network for pip.

    python3 crates/d2v-train/tests/golden/check_exports.py target/release/d2v
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import wave

GOLDEN = pathlib.Path(__file__).resolve().parent
ROOT = GOLDEN.parents[3]
INSIDE = "--inside-the-environment"
SMALL = [
    "model.transformer.width=32",
    "model.transformer.depth=3",
    "model.transformer.heads=2",
    "model.transformer.ffn_width=64",
    "targets.top_k=2",
    "train.length={ steps = 2 }",
]
RECIPES = {
    "image": [
        "train.batch_size=4",
        "data.synthetic={ train_images = 16, test_images = 8 }",
        "model.encoder.class_token=true",
        "model.encoder.position={ kind = 'relative-bias' }",
        "model.transformer.qkv_bias='query-value'",
        "model.transformer.layer_scale=0.1",
    ],
    "speech": ["train.batch_seconds=4.0", "data.synthetic_audio={ train_sounds = 16, test_sounds = 8 }"],
    "text": [
        "train.batch_size=8",
        "data.text.unit={ kind = 'byte-pair', vocabulary = 300 }",
        "data.synthetic_text={ train_texts = 64, test_texts = 16, max_tokens = 64 }",
    ],
}
CASES = {"image": "hf_vision_shared_bias", "speech": "hf_audio", "text": "hf_text"}
# What is added to a sound's variance: fairseq and d2v use 1e-5, transformers' extractor 1e-7.
SOUND_EPS = 1e-5
TEXTS = ["one two three", "a longer text, of more than a few words", "six"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("d2v", type=pathlib.Path)
    parser.add_argument("--transformers", default="4.57.1")
    parser.add_argument("--python")
    parser.add_argument("--torch-index", default="https://download.pytorch.org/whl/cpu")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument(INSIDE, dest="inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_environment(options):
    with tempfile.TemporaryDirectory(prefix="d2v-transformers-") as place:
        # The same interpreter as the packages', or their compiled parts would not load.
        subprocess.run([options.python or sys.executable, "-m", "venv", place], check=True)
        python = pathlib.Path(place) / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if options.python:
            folder = "import site; print(site.getsitepackages()[0])"
            theirs = subprocess.run([options.python, "-c", folder], check=True, capture_output=True, text=True).stdout
            ours = subprocess.run([python, "-c", folder], check=True, capture_output=True, text=True).stdout
            # Not the bare path: their own .pth files count too.
            line = f"import site; site.addsitedir({theirs.strip()!r})\n"
            (pathlib.Path(ours.strip()) / "reused.pth").write_text(line)
        else:
            subprocess.run([*pip, "torch", "numpy", "--index-url", options.torch_index], check=True)
        needed = [f"transformers=={options.transformers}", "safetensors", "numpy", "pillow"]
        subprocess.run([*pip, *needed], check=True)
        return subprocess.run([python, *sys.argv, INSIDE]).returncode


def draw_inputs(modality, folder):
    """Writes inputs that need no resizing or resampling, of which libraries have different opinions."""
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(7)
    for index in range(3):
        if modality == "image":
            pixels = random.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
        elif modality == "speech":
            with wave.open(str(folder / f"{index}.wav"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                sound = random.normal(0, 3_000, 9_000 + 1_500 * index).astype("<i2")
                file.writeframes(sound.tobytes())
        else:
            (folder / f"{index}.txt").write_text(TEXTS[index] + "\n")


def load(exported):
    """The model of an exported folder, and whether every tensor found its place."""
    import transformers

    config = json.loads((exported / "config.json").read_text())
    model_class = getattr(transformers, config["architectures"][0])
    model, info = model_class.from_pretrained(exported, output_loading_info=True, attn_implementation="eager")
    problems = {kind: sorted(map(str, found)) for kind, found in info.items() if found}
    print(f"  {model_class.__name__}: missing, unexpected or mismatched tensors: {problems or 'none'}")
    return model.eval(), not problems


def their_inputs(modality, exported, paths):
    """The arguments of the model's call, by what was exported beside it."""
    import numpy
    import transformers
    from PIL import Image

    if modality == "image":
        processor = transformers.AutoImageProcessor.from_pretrained(exported)
        return dict(processor([Image.open(path) for path in paths], return_tensors="pt"))
    if modality == "speech":
        extractor = transformers.AutoFeatureExtractor.from_pretrained(exported)
        sounds = []
        for path in paths:
            with wave.open(str(path), "rb") as file:
                assert file.getframerate() == extractor.sampling_rate
                sound = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(numpy.float64) / 32_768
            sounds.append(((sound - sound.mean()) / numpy.sqrt(sound.var() + SOUND_EPS)).astype(numpy.float32))
        assert extractor.do_normalize
        extractor.do_normalize = False
        rate = extractor.sampling_rate
        return dict(extractor(sounds, sampling_rate=rate, padding=True, return_tensors="pt"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    inputs = tokenizer([path.read_text().strip() for path in paths], padding=True, return_tensors="pt")
    return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}


def their_features(modality, model, inputs):
    """The last hidden state of each sample at its real positions."""
    import torch

    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    if modality == "image":
        # d2v leaves the class token out.
        return [state[1:] for state in states]
    lengths = inputs["attention_mask"].sum(-1)
    if modality == "speech":
        lengths = model._get_feat_extract_output_lengths(lengths)
    return [state[:length] for state, length in zip(states, lengths)]


def our_features(path):
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        index = json.loads(file.metadata()["index"])
        rows = file.get_tensor("features")
    parts = torch.split(rows, [sample["rows"] for sample in index["samples"]])
    # Text is named "FILE, block N"; each file here is one block.
    return [pathlib.Path(sample["name"]).name.split(",")[0] for sample in index["samples"]], parts


def run(d2v, *given):
    done = subprocess.run([d2v, *map(str, given)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"d2v {' '.join(map(str, given))} failed:\n{done.stderr}")


def check_trained(d2v, modality, place, tolerance):
    data = place / "data"
    data.mkdir(parents=True)
    draw_inputs(modality, data)
    settings = [flag for setting in SMALL + RECIPES[modality] for flag in ("--set", setting)]
    run(d2v, "pretrain", "--config", ROOT / f"configs/{modality}-tiny.toml", "--out", place / "run", *settings)
    ok = True
    for network in ["student", "teacher"]:
        exported, features = place / network, place / f"{network}.safetensors"
        run(d2v, "export", "--run", place / "run", "--format", "hf", "--of", network, "--out", exported)
        how = ["--layer", "last", "--pool", "tokens", "--of", network]
        run(d2v, "embed", "--run", place / "run", "--data", data, "--out", features, *how)
        model, complete = load(exported)
        ok &= complete
        names, ours = our_features(features)
        theirs = their_features(modality, model, their_inputs(modality, exported, [data / name for name in names]))
        for name, our, their in zip(names, ours, theirs, strict=True):
            if our.shape != their.shape:
                print(f"  {network} {name}: shape {tuple(our.shape)}, of transformers {tuple(their.shape)}")
                ok = False
                continue
            difference = (our - their).abs().max().item()
            ok &= difference <= tolerance
            print(f"  {network} {name}: {len(our)} tokens, largest absolute difference {difference:.2e}")
    return ok


def write_tokenizer(path, size):
    """A tokenizer for the golden text model, which has none: `size` words, the mask token last."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{id}" for id in range(4, size - 1)), "<mask>"]
    special = [
        {"id": id, "content": words[id], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for id in [0, 1, 2, 3, size - 1]
    ]
    vocabulary = {word: id for id, word in enumerate(words)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    path.write_text(json.dumps(tokenizer))


def check_golden(d2v, modality, place, tolerance):
    import torch
    from safetensors.torch import load_file

    case = GOLDEN / CASES[modality]
    settings = []
    if modality == "text":
        tokenizer = place / "tokenizer.json"
        write_tokenizer(tokenizer, json.loads((case / "config.json").read_text())["vocab_size"])
        settings = ["--set", f"data.text.unit={{ kind = 'file', path = '{tokenizer}' }}"]
    exported = place / "golden"
    run(d2v, "import", "--format", "hf", case, "--out", place / "imported", *settings)
    run(d2v, "export", "--run", place / "imported", "--format", "hf", "--out", exported)
    model, ok = load(exported)

    stored = load_file(case / "tensors.safetensors")
    for batch in sorted({name.split(".")[0] for name in stored}):
        inputs = {
            name.removeprefix(f"{batch}.in."): tensor.long() if tensor.dtype == torch.uint8 else tensor
            for name, tensor in stored.items()
            if name.startswith(f"{batch}.in.")
        }
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        worst = 0.0
        for layer, state in enumerate(states):
            difference = (state - stored[f"{batch}.out.hidden_states.{layer}"]).abs().max().item()
            ok &= difference <= tolerance
            worst = max(worst, difference)
        print(f"  golden {batch}: {len(states)} layers, largest absolute difference {worst:.2e}")
    return ok


def compare(options):
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    ok = True
    with tempfile.TemporaryDirectory(prefix="d2v-exports-") as temporary:
        d2v = options.d2v.resolve()
        for modality in RECIPES:
            print(modality, flush=True)
            place = (options.keep or pathlib.Path(temporary)).resolve() / modality
            ok &= check_trained(d2v, modality, place, options.tolerance)
            ok &= check_golden(d2v, modality, place, options.tolerance)
    print("as expected" if ok else "NOT as expected")
    return 0 if ok else 1


options = arguments()
sys.exit(compare(options) if options.inside else run_in_environment(options))

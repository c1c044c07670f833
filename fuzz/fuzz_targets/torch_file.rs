//! `.pt` files as a whole. Damage to an entry is mostly found by its checksum; `pickle` goes past it.
#![no_main]

use d2v_fuzz::with_file;
use d2v_weights::torch_file::TorchFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    with_file("a.pt", content, |path| {
        let Ok(mut file) = TorchFile::open(path) else { return };
        for key in file.keys(&[]).unwrap_or_default() {
            let _ = (file.integer(&[&key]), file.string(&[&key]), file.tensors(&[&key], &[]));
        }
        let _ = file.tensors(&[], &[]);
    });
});

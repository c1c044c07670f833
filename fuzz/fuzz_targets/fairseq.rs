//! Checkpoints of fairseq and of the original image code: both networks.
#![no_main]

use d2v_fuzz::with_file;
use d2v_weights::{Checkpoint, Network};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    with_file("a.pt", content, |path| {
        for network in [Network::Student, Network::Teacher] {
            if let Ok(checkpoint) = Checkpoint::read(path, network) {
                assert!(!checkpoint.tensors.is_empty());
            }
        }
    });
});

//! `model.safetensors.index.json` beside two parts that are sound.
#![no_main]

use d2v_fuzz::with_folder;
use d2v_weights::read_safetensors_folder;
use libfuzzer_sys::fuzz_target;

const ONE: &[u8] = include_bytes!("../../crates/d2v-weights/tests/fixtures/views.safetensors");
const TWO: &[u8] = include_bytes!("../../crates/d2v-weights/tests/fixtures/text.safetensors");

fuzz_target!(|json: &[u8]| {
    let files = [("model.safetensors.index.json", json), ("1.safetensors", ONE), ("2.safetensors", TWO)];
    with_folder(&files, |folder| {
        let _ = read_safetensors_folder(folder);
    });
});

//! `config.json`: alone, written and read again, and in a folder with weights.
#![no_main]

use d2v_fuzz::with_folder;
use d2v_weights::{Description, HfModel};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const AUDIO: &[u8] = include_bytes!("../../crates/d2v-weights/tests/fixtures/hf_audio/model.safetensors");
const TEXT: &[u8] = include_bytes!("../../crates/d2v-weights/tests/fixtures/hf_text/model.safetensors");
const VISION: &[u8] =
    include_bytes!("../../crates/d2v-weights/tests/fixtures/hf_vision_shared_bias/model.safetensors");

fuzz_target!(|json: &[u8]| {
    let path = Path::new("config.json");
    let Ok(description) = Description::from_config_json(path, json) else { return };
    let again = Description::from_config_json(path, description.to_config_json().as_bytes());
    assert!(again.expect("what was written can be read") == description);
    let weights = match description {
        Description::Vision(_) => VISION,
        Description::Audio(_) => AUDIO,
        Description::Text(_) => TEXT,
    };
    with_folder(&[("config.json", json), ("model.safetensors", weights)], |folder| {
        let _ = HfModel::read(folder);
    });
});

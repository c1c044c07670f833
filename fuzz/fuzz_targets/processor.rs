//! `preprocessor_config.json`, of pictures and of sound: what is read is the same when written and read again.
#![no_main]

use d2v_weights::{AudioProcessor, ImageProcessor};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|json: &[u8]| {
    let path = Path::new("preprocessor_config.json");
    if let Ok(processor) = ImageProcessor::from_json(path, json) {
        let again = ImageProcessor::from_json(path, processor.to_json().as_bytes());
        assert!(again.expect("what was written can be read") == processor);
    }
    if let Ok(processor) = AudioProcessor::from_json(path, json) {
        let again = AudioProcessor::from_json(path, processor.to_json().as_bytes());
        assert!(again.expect("what was written can be read") == processor);
    }
});

//! Text for pre-training, as lines and as JSON lines: tokens are made, cached and read again.
#![no_main]

use d2v_data::{Dataset, InvalidUtf8, Split, TextOptions, TextUnit, open_text};
use d2v_fuzz::with_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    for (name, invalid_utf8) in [("a.txt", InvalidUtf8::Replace), ("a.jsonl", InvalidUtf8::Error)] {
        with_file(name, content, |path| {
            let options = TextOptions {
                // Needs no training.
                unit: TextUnit::Bytes {},
                max_tokens: 16,
                invalid_utf8,
                cache: Some(path.with_file_name("cache")),
                ..TextOptions::default()
            };
            let Ok(blocks) = open_text(path, Split::Train, &options) else { return };
            for index in 0..blocks.len() {
                blocks.load(index).expect("the cache was just written");
            }
        });
    }
});

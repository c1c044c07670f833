//! Tables of text with labels: tabs, commas, JSON lines.
#![no_main]

use d2v_data::{Dataset, InvalidUtf8, LabelledTextOptions, Split, Tokenizer, open_labelled_text};
use d2v_fuzz::with_file;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

static TOKENIZER: LazyLock<Arc<Tokenizer>> =
    LazyLock::new(|| Arc::new(Tokenizer::bytes().expect("it is built in")));

fuzz_target!(|content: &[u8]| {
    let options = LabelledTextOptions { max_line_bytes: 1_000, ..LabelledTextOptions::default() };
    for (name, invalid_utf8) in
        [("a.tsv", InvalidUtf8::Error), ("a.csv", InvalidUtf8::Replace), ("a.jsonl", InvalidUtf8::Error)]
    {
        let options = LabelledTextOptions { invalid_utf8, ..options.clone() };
        with_file(name, content, |path| {
            let Ok(rows) = open_labelled_text(path, Split::Train, &options, TOKENIZER.clone()) else {
                return;
            };
            for index in 0..rows.len() {
                rows.load(index).expect("rows are held in memory");
            }
        });
    }
});

//! `tokenizer.json`: what is read encodes, decodes and is written again.
#![no_main]

use d2v_data::Tokenizer;
use d2v_fuzz::let_panics_be_caught;
use libfuzzer_sys::fuzz_target;

/// Words, digits, signs, white space of several kinds, text beyond ASCII, and what spells a special token.
const TEXT: &str =
    "The sea  is wide.\tNo ship may\ncross it: 12,5 % na\u{ef}ve \u{65e5}\u{672c} \u{1f30a} <mask> e\u{301}";

fuzz_target!(init: let_panics_be_caught(), |json: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(json, "tokenizer.json") else { return };
    let _ = tokenizer.to_json();
    let Ok(ids) = tokenizer.encode(TEXT) else { return };
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
    assert_eq!(tokenizer.word_starts(&ids).len(), ids.len());
    let _ = tokenizer.text(&ids);
});

//! Lines of many megabytes: read to the end, in blocks as short as any, with memory in proportion to the line.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "memory/peak.rs"]
mod peak;

use d2v_data::{
    Dataset, Error, LabelledTextOptions, RawSample, Split, TextBlocks, TextError, TextOptions, TextUnit,
    Tokenizer, open_labelled_text, open_text,
};
use peak::peak_kib;
use std::path::Path;
use std::sync::Arc;

const LINE_BYTES: usize = 9 << 20;
/// Twenty bytes for each of the line, a few of which are held as text, as tokens and as what is learned from them.
const MEMORY_KIB: u64 = 20 * (LINE_BYTES as u64 >> 10);

/// A line of words without an end in it.
fn line() -> String {
    let mut line = String::with_capacity(LINE_BYTES + 8);
    let mut number = 0_u32;
    while line.len() < LINE_BYTES {
        line.push_str(["sea ", "ship ", "no ", "wide "][(number.wrapping_mul(2_654_435_761) >> 30) as usize]);
        number += 1;
    }
    // White space at the end of a piece is no text.
    line.truncate(line.trim_end().len());
    line
}

fn opened(path: &Path, unit: TextUnit) -> Result<TextBlocks, Error> {
    let cache = Some(path.parent().unwrap().join("cache"));
    open_text(path, Split::Train, &TextOptions { unit, cache, ..TextOptions::default() })
}

/// How many tokens the blocks have beside begin and end of each piece.
fn tokens(set: &TextBlocks) -> usize {
    let specials = set.tokenizer().specials();
    let count = |index| {
        let RawSample::Text(block) = set.load(index).unwrap() else { panic!("not text") };
        assert!(block.len() <= 512 && block.len() == set.length(index));
        block.iter().filter(|&&token| token != specials.bos && token != specials.eos).count()
    };
    (0..set.len()).map(count).sum()
}

/// One test, so that nothing else takes memory while it runs.
#[test]
fn lines_of_many_megabytes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let line = line();
    let words = line.split_whitespace().count();
    let text = folder.path().join("a.txt");
    let before_kib = peak_kib();
    std::fs::write(&text, &line).unwrap();
    assert_eq!(tokens(&opened(&text, TextUnit::Words { vocabulary: 20 }).unwrap()), words);
    assert_eq!(tokens(&opened(&text, TextUnit::Bytes {}).unwrap()), line.len());

    // As one string of JSON, between lines of the usual kind, and as a row of a table.
    let object = folder.path().join("b.jsonl");
    std::fs::write(&object, format!("{{\"text\":\"sea\"}}\n{{\"text\":\"{line}\"}}\n{{\"text\":\"sea\"}}\n"))
        .unwrap();
    assert_eq!(tokens(&opened(&object, TextUnit::Words { vocabulary: 20 }).unwrap()), words + 2);
    let table = folder.path().join("c.tsv");
    std::fs::write(&table, format!("sentence\tlabel\nsea\t0\n{line}\t1\n")).unwrap();
    let tokenizer = Arc::new(Tokenizer::bytes().unwrap());
    let options = LabelledTextOptions::default();
    let rows = open_labelled_text(&table, Split::Train, &options, Arc::clone(&tokenizer)).unwrap();
    assert_eq!((rows.len(), rows.length(1)), (2, options.max_tokens));

    // Where tokens are in the cache no line is read.
    let short = TextOptions { max_line_bytes: 8 << 20, unit: TextUnit::Bytes {}, ..TextOptions::default() };
    let short = TextOptions { cache: Some(folder.path().join("another-cache")), ..short };
    for path in [&text, &object] {
        match open_text(path, Split::Train, &short) {
            Err(Error::Text(TextError::LineTooLong { limit, .. })) => assert_eq!(limit, 8 << 20),
            other => panic!("{:?}", other.map(|set| set.len())),
        }
    }
    let grown_kib = peak_kib().saturating_sub(before_kib);
    assert!(grown_kib < MEMORY_KIB, "{grown_kib} KiB");
}

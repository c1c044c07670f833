//! Damaged text files, tokenizers and caches: an error or other text, but no panic and no memory beyond the file's.
//!
//! `D2V_CORRUPTED` says how many of each kind are tried, 300 by default.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "memory/peak.rs"]
mod peak;

use d2v_data::{
    Dataset, LabelledTextOptions, Split, TextOptions, TextUnit, Tokenizer, open_labelled_text, open_text,
    train_tokenizer,
};
use peak::peak_kib;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Well above what files of less than a kB need, in all tests of this file at once; well below what their numbers may
/// declare.
const MEMORY_KIB: u64 = 128 << 10;

const TEXT: &str = "The sea is wide .\n\nNo ship may cross it , no ship at all .\nBut a small one did .\n";

/// Bits flipped, bytes replaced, a range cut out, or the end cut off.
fn damage(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..5) {
        if bytes.is_empty() {
            break;
        }
        let place = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes[place] ^= 1 << rng.random_range(0..8),
            1 => bytes[place] = rng.random(),
            2 => {
                let end = bytes.len().min(place + rng.random_range(1..30));
                bytes.drain(place..end);
            }
            _ => bytes.truncate(place),
        }
    }
    bytes
}

/// Tries `use_file` on damaged versions of a file; the share that still opens must be neither none nor all.
fn check(name: &str, whole: &[u8], mut use_file: impl FnMut(&Path) -> bool) {
    let count = std::env::var("D2V_CORRUPTED").ok().map_or(300, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, whole).unwrap();
    assert!(use_file(&path), "{name}: the whole file opens");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let before_kib = peak_kib();
    let opened = (0..count)
        .filter(|_| {
            std::fs::write(&path, damage(whole, &mut rng)).unwrap();
            use_file(&path)
        })
        .count();
    assert!(opened < count, "{name}: {opened} of {count} opened");
    let grown_kib = peak_kib().saturating_sub(before_kib);
    assert!(grown_kib < MEMORY_KIB, "{name}: {grown_kib} KiB");
}

/// Opens a text with a unit that needs no training and reads all of it.
fn read_text(path: &Path) -> bool {
    let options = TextOptions {
        unit: TextUnit::Bytes {},
        max_tokens: 16,
        cache: Some(path.parent().unwrap().join("cache")),
        ..TextOptions::default()
    };
    match open_text(path, Split::Train, &options) {
        Ok(set) => (0..set.len()).all(|index| set.load(index).is_ok()),
        Err(_) => false,
    }
}

fn jsonl() -> Vec<u8> {
    TEXT.lines()
        .map(|line| format!("{{\"id\": [1, {{}}], \"text\": \"{line}\", \"label\": 1}}\n"))
        .collect::<String>()
        .into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn text_files() {
    check("a.txt", TEXT.replace("sea", "s\u{e9}a").as_bytes(), read_text);
    check("a.jsonl", &jsonl(), read_text);
    check("a.txt.gz", &gzip(TEXT.as_bytes()), read_text);
    check("a.jsonl.zst", &zstd::encode_all(&*jsonl(), 3).unwrap(), read_text);
}

#[test]
fn tables() {
    let tokenizer = Arc::new(Tokenizer::bytes().unwrap());
    let options = LabelledTextOptions { max_line_bytes: 1_000, ..LabelledTextOptions::default() };
    let read = |path: &Path| open_labelled_text(path, Split::Train, &options, tokenizer.clone()).is_ok();
    check("a.tsv", b"sentence\tlabel\nthe sea\t1\na ship\t0\n", read);
    check("a.csv", b"label,text\n1,\"the \"\"sea\"\" ,\n\"\n0,a ship\n", read);
    check("a.jsonl", &jsonl(), read);
}

#[test]
fn tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, TEXT).unwrap();
    for unit in [
        TextUnit::Characters { vocabulary: 30 },
        TextUnit::Words { vocabulary: 20 },
        TextUnit::BytePair { vocabulary: 270 },
        TextUnit::Unigram { vocabulary: 60 },
    ] {
        let options = TextOptions { unit, ..TextOptions::default() };
        let json = train_tokenizer(&path, &options).unwrap().to_json().unwrap();
        check("tokenizer.json", &json, |path| {
            let Ok(tokenizer) = Tokenizer::read(path) else { return false };
            let Ok(ids) = tokenizer.encode(TEXT) else { return false };
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
            assert_eq!(tokenizer.word_starts(&ids).len(), ids.len());
            tokenizer.text(&ids).is_ok() && tokenizer.to_json().is_ok()
        });
    }
}

#[test]
fn caches() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("a.txt");
    std::fs::write(&text, TEXT).unwrap();
    let cache = folder.path().join("cache");
    let options = TextOptions {
        unit: TextUnit::Words { vocabulary: 20 },
        max_tokens: 8,
        cache: Some(cache.clone()),
        ..TextOptions::default()
    };
    let open = || open_text(&text, Split::Train, &options).unwrap();
    let read = || {
        let set = open();
        (0..set.len()).map(|index| set.load(index).ok()).collect::<Vec<_>>()
    };
    let expected = read();
    for entry in std::fs::read_dir(&cache).unwrap() {
        let cached = entry.unwrap().path();
        let whole = std::fs::read(&cached).unwrap();
        check("cache", &whole, |damaged| {
            std::fs::copy(damaged, &cached).unwrap();
            // Either as it was, or made anew, or a block that is refused; never other tokens.
            let got = read();
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(&expected).all(|(got, expected)| got.is_none() || got == expected));
            std::fs::read(&cached).unwrap() == std::fs::read(damaged).unwrap()
        });
    }
}

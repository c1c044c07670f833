//! What each unit makes of a text: `cargo run --release -p d2v-data --example text_units -- PATH [CACHE]`, where PATH is
//! a file, a folder or a pattern of text.
//!
//! Prints the size of the vocabulary, the blocks and tokens of the train part, the share of unknown tokens, and the
//! seconds of a first opening (which learns and tokenises) and of a second one (which finds the cache).

#![expect(clippy::print_stdout, reason = "the table is what an example is for")]

use d2v_data::{Dataset, RawSample, Split, TextOptions, TextUnit, open_text};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the path of a text")?;
    let cache = arguments.next().map(PathBuf::from);
    println!("unit        vocabulary    blocks     tokens  unknown  first s  second s");
    for unit in [
        TextUnit::Bytes {},
        TextUnit::Characters { vocabulary: 1_000 },
        TextUnit::Words { vocabulary: 30_000 },
        TextUnit::BytePair { vocabulary: 8_192 },
        TextUnit::Unigram { vocabulary: 8_192 },
    ] {
        let options = TextOptions { unit, cache: cache.clone(), ..TextOptions::default() };
        let kind = options.unit.kind();
        let start = Instant::now();
        open_text(Path::new(&path), Split::Train, &options)?;
        let first = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let blocks = open_text(Path::new(&path), Split::Train, &options)?;
        let second = start.elapsed().as_secs_f64();
        let unk = blocks.tokenizer().specials().unk;
        let (mut tokens, mut unknown) = (0, 0);
        for index in 0..blocks.len() {
            let RawSample::Text(block) = blocks.load(index)? else { continue };
            tokens += block.len();
            unknown += block.iter().filter(|&&token| token == unk).count();
        }
        let vocabulary = blocks.tokenizer().vocabulary_size();
        let share = 100.0 * unknown as f64 / tokens as f64;
        println!(
            "{kind:<10} {vocabulary:>11} {:>9} {tokens:>10} {share:>7.2}% {first:>8.2} {second:>9.3}",
            blocks.len()
        );
    }
    Ok(())
}

//! Writes the seeds that are not files of the crates' tests: `cargo run --example derived_seeds -- CORPUS`.

use d2v_data::{TextOptions, TextUnit, train_tokenizer};
use d2v_weights::read_safetensors;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use zip::ZipArchive;

const TEXT: &str = "The sea is wide .\n\nNo ship may cross it , no ship at all .\nBut a small one did .\n";

fn main() -> Result<(), Box<dyn Error>> {
    let corpus: PathBuf = std::env::args_os().nth(1).ok_or("name the folder of the corpus")?.into();
    tokenizers(&corpus)?;
    pickles(&corpus)?;
    index(&corpus)?;
    write(&corpus, "wav", "short", &wav())?;
    write(&corpus, "idx", "labelled", &idx())
}

fn write(corpus: &Path, target: &str, name: &str, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), content)?)
}

/// A trained tokenizer of each kind.
fn tokenizers(corpus: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("a.txt");
    fs::write(&text, TEXT)?;
    for unit in [
        TextUnit::Characters { vocabulary: 30 },
        TextUnit::Words { vocabulary: 20 },
        TextUnit::BytePair { vocabulary: 270 },
        TextUnit::Unigram { vocabulary: 60 },
    ] {
        let name = unit.kind();
        let json = train_tokenizer(&text, &TextOptions { unit: unit.clone(), ..TextOptions::default() })?
            .to_json()?;
        write(corpus, "tokenizer", name, &json)?;
    }
    Ok(())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/d2v-weights/tests/fixtures").join(name)
}

/// The `data.pkl` of each `.pt` file of the tests.
fn pickles(corpus: &Path) -> Result<(), Box<dyn Error>> {
    for name in ["speech", "text", "image", "views"] {
        let mut archive = ZipArchive::new(File::open(fixture(&format!("{name}.pt")))?)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            if entry.name()?.ends_with("/data.pkl") {
                let mut pickle = Vec::new();
                entry.read_to_end(&mut pickle)?;
                write(corpus, "pickle", name, &pickle)?;
            }
        }
    }
    Ok(())
}

/// An index of the two parts that the target `safetensors_index` holds.
fn index(corpus: &Path) -> Result<(), Box<dyn Error>> {
    let mut places = Vec::new();
    for (name, part) in [("views", "1.safetensors"), ("text", "2.safetensors")] {
        for tensor in read_safetensors(&fixture(&format!("{name}.safetensors")))?.keys() {
            places.push(format!("{tensor:?}: {part:?}"));
        }
    }
    let json = format!("{{\"metadata\": {{}}, \"weight_map\": {{{}}}}}", places.join(", "));
    write(corpus, "safetensors_index", "both", json.as_bytes())
}

/// A tenth of a second of a saw tooth: 16,000 Hz, one channel, 16 bits.
fn wav() -> Vec<u8> {
    const BYTES: u32 = 3_200;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + BYTES).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel; rate; bytes a second; bytes a frame, bits a sample.
    file.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    file.extend([16_000_u32, 32_000].map(u32::to_le_bytes).concat());
    file.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(BYTES.to_le_bytes());
    file.extend((0..BYTES / 2).flat_map(|t| (t as i16 % 100 * 200).to_le_bytes()));
    file
}

/// Two grey pictures of 3 x 4 with labels, as the target `idx` splits its input.
fn idx() -> Vec<u8> {
    let mut input = vec![10];
    input.extend([0x0801_u32, 2].map(u32::to_be_bytes).concat());
    input.extend([1, 0]);
    input.extend([0x0803_u32, 2, 3, 4].map(u32::to_be_bytes).concat());
    input.extend(0..24);
    input
}

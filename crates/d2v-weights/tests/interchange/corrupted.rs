//! Corrupted files: an error or the right answer, never a panic, and no more memory than the file can mean.
//!
//! `D2V_CORRUPTED=10000` for more than the 300 of each kind.

use crate::fixture::{audio, fixture, model, text, vision};
use d2v_weights::names::from_ours;
use d2v_weights::{Checkpoint, HfModel, Network};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Numbers from proptest's generator, which is there already.
struct Bits(TestRng);

impl Bits {
    fn new(seed: u8) -> Bits {
        Bits(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.0.next_u64() % limit as u64) as usize
    }
}

fn count() -> usize {
    std::env::var("D2V_CORRUPTED").map_or(300, |count| count.parse().expect("D2V_CORRUPTED is a number"))
}

/// A few flipped bits, a cut, bytes moved over others, or a length field set to its most.
fn corrupted(whole: &[u8], bits: &mut Bits) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match bits.below(4) {
        0 => bytes.truncate(bits.below(whole.len())),
        1 => {
            let (from, to) = (bits.below(whole.len()), bits.below(whole.len()));
            let len = bits.below(16).min(whole.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
        }
        2 => {
            let at = bits.below(whole.len());
            let end = (at + 1 + bits.below(8)).min(whole.len());
            bytes[at..end].fill(0xff);
        }
        _ => {
            for _ in 0..=bits.below(3) {
                let at = bits.below(whole.len());
                bytes[at] ^= 1 << bits.below(8);
            }
        }
    }
    bytes
}

/// Corrupts `file` of a folder many times; `read` may succeed or fail.
fn check(folder: &Path, file: &str, seed: u8, read: impl Fn(&Path)) {
    let path = folder.join(file);
    let whole = fs::read(&path).unwrap();
    let mut bits = Bits::new(seed);
    for _ in 0..count() {
        fs::write(&path, corrupted(&whole, &mut bits)).unwrap();
        read(folder);
    }
    fs::write(&path, whole).unwrap();
}

fn read_folder(folder: &Path) {
    // What reads in spite of the damage must be complete: it could be written.
    if let Ok((model, _)) = HfModel::read(folder) {
        let description = &model.description;
        from_ours(description.transformers_names(), description.counts(), &model.tensors).unwrap();
    }
}

#[test]
fn folders() {
    for (seed, description) in [vision(), audio(), text()].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        model(description).write(folder.path()).unwrap();
        check(folder.path(), "config.json", seed as u8, read_folder);
        check(folder.path(), "model.safetensors", 10 + seed as u8, read_folder);
    }
}

#[test]
fn indices() {
    let folder = tempfile::tempdir().unwrap();
    let written = model(text());
    written.write(folder.path()).unwrap();
    let parts = ["1.safetensors", "2.safetensors"];
    let whole = d2v_weights::read_safetensors(&folder.path().join("model.safetensors")).unwrap();
    let map: serde_json::Map<_, _> =
        whole.keys().enumerate().map(|(i, name)| (name.clone(), parts[i % 2].into())).collect();
    for part in parts {
        let tensors = whole.iter().filter(|(name, _)| map[*name] == part);
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        d2v_weights::write_safetensors(&folder.path().join(part), &tensors).unwrap();
    }
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert_eq!(HfModel::read(folder.path()).unwrap().0.tensors, written.tensors);
    check(folder.path(), "model.safetensors.index.json", 20, read_folder);
}

fn read_checkpoint(path: &Path) {
    for network in [Network::Student, Network::Teacher] {
        // Damage that is not seen changes numbers, but nothing else.
        if let Ok(checkpoint) = Checkpoint::read(path, network) {
            assert!(!checkpoint.tensors.is_empty());
        }
    }
}

/// Most damage to an archive is found by its checksums; here the pickle is damaged and its checksum is right.
#[test]
fn pickles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged.pt");
    let mut archive = ZipArchive::new(File::open(fixture("text.pt")).unwrap()).unwrap();
    let mut entries = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.push((entry.name().unwrap().into_owned(), bytes));
    }
    let mut bits = Bits::new(40);
    let mut read = 0;
    for i in 0..=count() {
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in &entries {
            zip.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
                .unwrap();
            let damage = i > 0 && name.ends_with("data.pkl");
            zip.write_all(&if damage { corrupted(bytes, &mut bits) } else { bytes.clone() }).unwrap();
        }
        zip.finish().unwrap();
        read_checkpoint(&path);
        read += usize::from(Checkpoint::read(&path, Network::Student).is_ok());
    }
    assert!(read > 0, "the archive is made wrongly");
}

#[test]
fn torch_files() {
    let folder = tempfile::tempdir().unwrap();
    for (seed, file) in ["speech.pt", "text.pt", "image.pt"].into_iter().enumerate() {
        fs::copy(fixture(file), folder.path().join(file)).unwrap();
        check(folder.path(), file, 30 + seed as u8, |folder| read_checkpoint(&folder.join(file)));
    }
}

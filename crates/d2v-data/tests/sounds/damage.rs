//! Sound files with flipped bits and missing ends give sound or an error: no panic, no runaway memory.
//!
//! `D2V_CORRUPTED=10000 cargo test -p d2v-data --test sounds damage` tries that many instead of 300.

use crate::peak::peak_kib;
use crate::signal::mono;
use d2v_data::{AudioOptions, RawSample, Split, open_audio};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Well above what decoders of sound files of a few kB need, well below what their headers may declare.
const MEMORY_KIB: u64 = 128 << 10;

/// A few flipped bits, or the end cut off, or both; half of the flips hit the first bytes, where the headers are.
fn damage(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let kind = rng.random_range(0..4);
    if kind != 0 {
        for _ in 0..rng.random_range(1..=8) {
            let end = if rng.random_bool(0.5) { bytes.len().min(80) } else { bytes.len() };
            bytes[rng.random_range(0..end)] ^= 1 << rng.random_range(0..8);
        }
    }
    if kind == 0 || kind == 3 {
        bytes.truncate(rng.random_range(0..bytes.len()));
    }
}

#[test]
fn damage_does_no_harm() {
    let count: usize = std::env::var("D2V_CORRUPTED").map_or(300, |count| count.parse().unwrap());
    let originals = [
        ("a.wav", mono(16_000, 3_200)),
        ("a.flac", include_bytes!("../fixtures/short.flac").to_vec()),
        ("a.mp3", include_bytes!("../fixtures/short.mp3").to_vec()),
        ("a.ogg", include_bytes!("../fixtures/short.ogg").to_vec()),
    ];
    // Panics inside decoders are caught. A backtrace of one reads the program's debug information, which would count.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let folder = tempfile::tempdir().unwrap();
    let before_kib = peak_kib();
    let (mut opened, mut loaded) = (0, 0);
    for number in 0..count {
        let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
        let (name, original) = &originals[number % originals.len()];
        let mut bytes = original.clone();
        damage(&mut bytes, &mut rng);
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        // In parts, so that seeking meets damage too.
        let options = AudioOptions { min_seconds: 0.0, max_seconds: 0.05, ..AudioOptions::default() };
        let Ok(data) = open_audio(&path, Split::All, &options) else { continue };
        opened += 1;
        for index in 0..data.len().min(20) {
            match data.load(index) {
                Ok(RawSample::Audio(sound)) => {
                    assert_eq!(sound.len(), data.length(index), "input {number}");
                    loaded += 1;
                }
                Ok(other) => panic!("input {number}: {other:?}"),
                Err(error) => assert!(error.to_string().len() < 500, "input {number}: {error}"),
            }
        }
    }
    let grown_kib = peak_kib().saturating_sub(before_kib);
    assert!(grown_kib < MEMORY_KIB, "{grown_kib} KiB");
    // Otherwise the damage tests nothing but the first bytes.
    assert!(opened > count / 10 && loaded > opened, "{opened} opened, {loaded} loaded of {count}");
}

//! Seconds of sound per second, one thread, from encoded bytes to normalised arrays:
//! `cargo bench -p d2v-benches --bench audio`.
//!
//! Criterion reports elements per second: samples per channel that come out, so 16,000 elements are a second of sound.
//! WAV is ten seconds of the built-in sound, FLAC the four seconds of the tests' fixture; both lie in the system's
//! temporary folder, so in the page cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_data::{
    AudioOptions, AudioTransform, AugmentKey, Dataset, RawSample, Split, SyntheticSounds,
    SyntheticSoundsConfig, open_audio,
};
use std::hint::black_box;
use std::path::PathBuf;

const SECONDS: f64 = 10.0;

fn sound(sample_rate_hz: u32) -> Vec<i16> {
    let config = SyntheticSoundsConfig {
        sample_rate_hz,
        min_seconds: SECONDS,
        max_seconds: SECONDS,
        ..SyntheticSoundsConfig::default()
    };
    let set = SyntheticSounds::new(config, Split::Train).expect("valid settings");
    let RawSample::Audio(sound) = set.load(0).expect("drawn, not read") else { unreachable!("sound") };
    sound.view().iter().map(|sample| (sample * 32_767.0) as i16).collect()
}

fn wav(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let data_bytes = 2 * samples.len() as u32;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + data_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    // Integers, one channel.
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((2 * rate_hz).to_le_bytes());
    // Two bytes a sample, sixteen bits.
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(data_bytes.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("d2v-bench-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("a writable temporary folder");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left behind is a small file in a temporary folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn files(c: &mut Criterion) {
    let mut group = c.benchmark_group("sound");
    let flac = include_bytes!("../../crates/d2v-data/tests/fixtures/sound.flac");
    let cases = [
        ("wav_16khz_10s", Temporary::new("16khz.wav", &wav(16_000, &sound(16_000)))),
        ("wav_44khz_resampled_10s", Temporary::new("44khz.wav", &wav(44_100, &sound(44_100)))),
        ("flac_16khz_4s", Temporary::new("16khz.flac", flac)),
    ];
    for (name, file) in &cases {
        let set = open_audio(&file.0, Split::All, &AudioOptions::default()).expect("a good file");
        group.throughput(Throughput::Elements(set.length(0) as u64));
        group.bench_function(BenchmarkId::new("load", name), |b| b.iter(|| set.load(black_box(0))));
        let transform = AudioTransform::default();
        let mut sample_id = 0;
        group.bench_function(BenchmarkId::new("load_and_normalise", name), |b| {
            b.iter(|| {
                sample_id += 1;
                let RawSample::Audio(sound) = set.load(0).expect("a good file") else {
                    unreachable!("sound")
                };
                transform.apply(sound, AugmentKey { seed: 0, epoch: 0, sample_id })
            });
        });
    }
    group.finish();
}

fn synthetic(c: &mut Criterion) {
    let mut group = c.benchmark_group("synthetic_sounds");
    let config =
        SyntheticSoundsConfig { min_seconds: 2.0, max_seconds: 2.0, ..SyntheticSoundsConfig::default() };
    let set = SyntheticSounds::new(config, Split::Train).expect("valid settings");
    group.throughput(Throughput::Elements(set.length(0) as u64));
    let mut index = 0;
    group.bench_function("draw", |b| {
        b.iter(|| {
            index = (index + 1) % set.len();
            set.load(index)
        });
    });
    group.finish();
}

criterion_group!(benches, files, synthetic);
criterion_main!(benches);

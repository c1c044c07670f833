//! Seconds of sound per second from encoded bytes to normalised arrays:
//! `cargo bench -p d2v-benches --bench audio`.
//!
//! Criterion reports elements per second: samples per channel that come out, so 16,000 elements are a second of sound.
//! WAV is ten seconds of the built-in sound, FLAC the four seconds of the tests' fixture; both lie in the system's
//! temporary folder, so in the page cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_data::{
    AudioOptions, AudioTransform, AugmentKey, BatchSize, Cursor, Dataset, Loader, LoaderConfig, RawSample,
    Split, SyntheticSounds, SyntheticSoundsConfig, Transform, open_audio,
};
use std::hint::black_box;
use std::sync::Arc;

const SECONDS: f64 = 10.0;
/// Recordings that a loader reads.
const FILES: usize = 16;

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

fn files(c: &mut Criterion) {
    let mut group = c.benchmark_group("sound");
    let flac = include_bytes!("../../crates/d2v-data/tests/fixtures/sound.flac");
    let cases = [
        ("wav_16khz_10s", "16khz.wav", wav(16_000, &sound(16_000))),
        ("wav_44khz_resampled_10s", "44khz.wav", wav(44_100, &sound(44_100))),
        ("flac_16khz_4s", "16khz.flac", flac.to_vec()),
    ];
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    for (name, file, bytes) in &cases {
        let path = folder.path().join(file);
        std::fs::write(&path, bytes).expect("a writable temporary folder");
        let set = open_audio(&path, Split::All, &AudioOptions::default()).expect("a good file");
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

/// The whole loader on recordings: what one worker thread yields is what one core does.
fn loader(c: &mut Criterion) {
    let mut group = c.benchmark_group("sound_loader");
    group.sample_size(20);
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    let bytes = wav(16_000, &sound(16_000));
    for index in 0..FILES {
        let path = folder.path().join(format!("{index}.wav"));
        std::fs::write(path, &bytes).expect("a writable temporary folder");
    }
    let set = open_audio(folder.path(), Split::All, &AudioOptions::default()).expect("good files");
    let set: Arc<dyn Dataset> = Arc::from(set);
    let batch = FILES / 2;
    group.throughput(Throughput::Elements((batch * set.length(0)) as u64));
    for threads in [1, 2] {
        let config = LoaderConfig {
            batch: BatchSize::Samples(batch),
            threads,
            transform: Transform::Audio(AudioTransform::default()),
            ..LoaderConfig::default()
        };
        let mut loader = Loader::new(Arc::clone(&set), config, Cursor::default()).expect("valid settings");
        let id = BenchmarkId::new("threads", format!("{threads}/{batch}x10s_16khz_wav"));
        group.bench_function(id, |b| b.iter(|| loader.next()));
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

criterion_group!(benches, files, loader, synthetic);
criterion_main!(benches);

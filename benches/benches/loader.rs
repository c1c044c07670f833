//! Pictures per second from encoded bytes to normalised arrays: `cargo bench -p d2v-benches --bench loader`.
//!
//! Criterion reports elements per second: pictures. `jpeg_loader` is the whole way of data2vec's pictures, from files to
//! batches; with one thread it is what one core does. The loader's own cost beside this is the hand-over between threads,
//! which `synthetic_32px/loader_threads` shows against `synthetic_32px/draw`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_data::{
    AugmentKey, BatchSize, Cursor, Dataset, ImageTransform, Limits, Loader, LoaderConfig, OpenOptions,
    RawSample, Split, SyntheticConfig, SyntheticImages, Transform, decode_picture, open,
};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::hint::black_box;
use std::sync::Arc;

/// Pictures that a loader reads.
const FILES: usize = 32;

/// A JPEG of a built-in picture, its side as given, quality 90: about as many bytes per pixel as a photograph.
fn jpeg(size_px: u32) -> Vec<u8> {
    let config = SyntheticConfig { size_px, ..SyntheticConfig::default() };
    let set = SyntheticImages::new(config, Split::Train).expect("valid settings");
    let RawSample::Image(picture) = set.load(0).expect("drawn, not read") else { unreachable!("a picture") };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .write_image(picture.as_bytes(), size_px, size_px, ExtendedColorType::Rgb8)
        .expect("writing to memory");
    bytes
}

fn decode_and_augment(c: &mut Criterion) {
    let mut group = c.benchmark_group("jpeg");
    group.throughput(Throughput::Elements(1));
    // 433 x 433 has as many pixels as the usual 500 x 375 photograph of ImageNet.
    let cases = [
        ("433px_to_224_pretraining", 433, ImageTransform::pretraining(224)),
        ("32px_small", 32, ImageTransform::small(32, 4)),
    ];
    for (name, size_px, transform) in cases {
        let bytes = jpeg(size_px);
        group.bench_function(BenchmarkId::new("decode", name), |b| {
            b.iter(|| decode_picture("bench", black_box(&bytes), &Limits::default()));
        });
        let mut sample_id = 0;
        group.bench_function(BenchmarkId::new("decode_and_augment", name), |b| {
            b.iter(|| {
                sample_id += 1;
                let picture =
                    decode_picture("bench", black_box(&bytes), &Limits::default()).expect("a good picture");
                transform.apply(picture, AugmentKey { seed: 0, epoch: 0, sample_id })
            });
        });
    }
    group.finish();
}

/// The whole loader on files: what one worker thread yields is what one core does.
fn files(c: &mut Criterion) {
    let mut group = c.benchmark_group("jpeg_loader");
    group.sample_size(20);
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    let bytes = jpeg(433);
    for index in 0..FILES {
        let path = folder.path().join(format!("{index}.jpg"));
        std::fs::write(path, &bytes).expect("a writable temporary folder");
    }
    let set = open(folder.path(), Split::Train, &OpenOptions::default()).expect("good files");
    let set: Arc<dyn Dataset> = Arc::from(set);
    let batch = FILES / 2;
    group.throughput(Throughput::Elements(batch as u64));
    for threads in [1, 2] {
        let config = LoaderConfig {
            batch: BatchSize::Samples(batch),
            threads,
            transform: Transform::Image(ImageTransform::pretraining(224)),
            ..LoaderConfig::default()
        };
        let mut loader = Loader::new(Arc::clone(&set), config, Cursor::default()).expect("valid");
        let id = BenchmarkId::new("threads", format!("{threads}/{batch}x433px_to_224"));
        group.bench_function(id, |b| b.iter(|| loader.next()));
    }
    group.finish();
}

fn synthetic(c: &mut Criterion) {
    let mut group = c.benchmark_group("synthetic_32px");
    let set =
        Arc::new(SyntheticImages::new(SyntheticConfig::default(), Split::Train).expect("valid settings"));
    group.throughput(Throughput::Elements(1));
    let mut index = 0;
    group.bench_function("draw", |b| {
        b.iter(|| {
            index = (index + 1) % set.len();
            set.load(index)
        });
    });

    let batch_size = 64;
    group.throughput(Throughput::Elements(batch_size as u64));
    for threads in [1, 2] {
        let config = LoaderConfig {
            batch: BatchSize::Samples(batch_size),
            threads,
            transform: Transform::Image(ImageTransform::small(32, 4)),
            ..LoaderConfig::default()
        };
        let mut loader =
            Loader::new(Arc::clone(&set) as Arc<dyn Dataset>, config, Cursor::default()).expect("valid");
        group.bench_function(BenchmarkId::new("loader_threads", threads), |b| b.iter(|| loader.next()));
    }
    group.finish();
}

criterion_group!(benches, decode_and_augment, files, synthetic);
criterion_main!(benches);

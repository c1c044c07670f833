//! Tokens per second: from text to ids, and from the cache of ids to batches: `cargo bench -p d2v-benches --bench text`.
//!
//! Criterion reports bytes per second of a tokenizer and elements per second of the loader, which are tokens. Text is
//! the built-in language; the files lie in the system's temporary folder, so in the page cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_data::{
    BatchSize, Cursor, Dataset, Loader, LoaderConfig, Split, SyntheticText, SyntheticTextConfig, TextOptions,
    TextTransform, TextUnit, Tokenizer, Transform, open_text,
};
use std::hint::black_box;
use std::sync::Arc;

/// Texts in the file: some hundred blocks of 512 bytes.
const TEXTS: usize = 1_000;
const BATCH: usize = 16;

fn learned(unit: &TextUnit) -> Tokenizer {
    SyntheticText::learn_tokenizer(SyntheticTextConfig::default(), unit).expect("valid settings")
}

fn written() -> String {
    let tokenizer = Arc::new(learned(&TextUnit::Bytes {}));
    let set = SyntheticText::new(SyntheticTextConfig::default(), Split::Train, tokenizer);
    let set = set.expect("valid settings");
    (0..TEXTS).map(|index| set.text(index)).collect::<Vec<_>>().join("\n\n")
}

fn tokenize(c: &mut Criterion) {
    let mut group = c.benchmark_group("tokenize");
    group.sample_size(20);
    let text = written();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).take(TEXTS).collect();
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    for unit in [
        TextUnit::Bytes {},
        TextUnit::Words { vocabulary: 1_000 },
        TextUnit::BytePair { vocabulary: 1_000 },
        TextUnit::Unigram { vocabulary: 1_000 },
    ] {
        let tokenizer = learned(&unit);
        group.bench_function(BenchmarkId::new(unit.kind(), format!("{}_lines", lines.len())), |b| {
            b.iter(|| {
                lines
                    .iter()
                    .map(|line| tokenizer.encode(black_box(line)).expect("good text").len())
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

fn loader(c: &mut Criterion) {
    let mut group = c.benchmark_group("text_loader");
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    let path = folder.path().join("text.txt");
    std::fs::write(&path, written()).expect("a writable temporary folder");
    let options = TextOptions {
        unit: TextUnit::Bytes {},
        cross_documents: true,
        cache: Some(folder.path().join("cache")),
        ..TextOptions::default()
    };
    let set = Arc::new(open_text(&path, Split::Train, &options).expect("good text"));
    group.throughput(Throughput::Elements((BATCH * options.max_tokens) as u64));
    for threads in [1, 2] {
        let config = LoaderConfig {
            batch: BatchSize::Samples(BATCH),
            threads,
            transform: Transform::Text(TextTransform::default()),
            ..LoaderConfig::default()
        };
        let mut loader = Loader::new(Arc::clone(&set) as Arc<dyn Dataset>, config, Cursor::default())
            .expect("valid settings");
        let id = BenchmarkId::new("threads", format!("{threads}/{BATCH}x{}", options.max_tokens));
        group.bench_function(id, |b| b.iter(|| loader.next()));
    }
    group.finish();
}

criterion_group!(benches, tokenize, loader);
criterion_main!(benches);

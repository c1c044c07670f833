//! How fast masks are drawn on one thread. Shapes are in the names: rows x positions.
//!
//! `cargo bench -p d2v-benches --bench masks`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use d2v_masking::{
    BlocksConfig, BlocksV2Config, EqualCounts, MaskConfig, MaskKey, Positions, RandomConfig, SpansConfig,
    TokensConfig, VisibleOrder,
};

const SEED: u64 = 0;

/// Other keys for every iteration: the same rows again would flatter the branch predictor.
fn keys(epoch: u64, rows: usize) -> Vec<MaskKey> {
    (0..rows as u64).map(|sample_id| MaskKey { seed: SEED, epoch, sample_id, clone: 0 }).collect()
}

fn samplers(criterion: &mut Criterion) {
    let grid = Positions::Grid { height: 14, width: 14 };
    let line = |len| Positions::Line { len };
    let free = SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::default() };
    let one_thread =
        rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread can be started");
    let mut group = criterion.benchmark_group("masks");
    for (name, config, positions, rows) in [
        ("blocks/256x14x14", MaskConfig::Blocks(BlocksConfig::default()), grid, 256),
        ("spans/16x749", MaskConfig::Spans(SpansConfig::default()), line(749), 16),
        ("spans-free/16x749", MaskConfig::Spans(free), line(749), 16),
        ("channels/16x768", MaskConfig::Spans(SpansConfig::channels(0.25, 64)), line(768), 16),
        ("tokens/256x512", MaskConfig::Tokens(TokensConfig::default()), line(512), 256),
        ("random/256x512", MaskConfig::Random(RandomConfig::default()), line(512), 256),
        ("blocks-v2/256x14x14", MaskConfig::BlocksV2(BlocksV2Config::image_base()), grid, 256),
        ("blocks-v2/16x749", MaskConfig::BlocksV2(BlocksV2Config::audio_base()), line(749), 16),
    ] {
        let sampler = config.build().expect("published settings are valid");
        group.throughput(Throughput::Elements((rows * positions.len()) as u64));
        group.bench_function(name, |bencher| {
            let mut epoch = 0;
            one_thread.install(|| {
                bencher.iter(|| {
                    epoch += 1;
                    black_box(sampler.sample_batch(positions, None, &keys(epoch, rows)))
                });
            });
        });
    }
    group.finish();
}

fn visible_order(criterion: &mut Criterion) {
    let sampler =
        MaskConfig::BlocksV2(BlocksV2Config::image_base()).build().expect("published settings are valid");
    let positions = Positions::Grid { height: 14, width: 14 };
    let mask = sampler.sample_batch(positions, None, &keys(0, 256)).expect("the settings suit the grid");
    criterion.bench_function("visible-order/256x196", |bencher| {
        bencher.iter(|| VisibleOrder::new(black_box(&mask), None));
    });
}

criterion_group!(benches, samplers, visible_order);
criterion_main!(benches);

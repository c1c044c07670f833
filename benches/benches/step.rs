//! One update of the recipe that runs when none is named, on random pictures, with and without what the collapse watch
//! looks at.
//!
//! `cargo bench -p d2v-benches --bench step`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_train::batches::Masks;
use d2v_train::config::RunConfig;
use d2v_train::observe::{Recent, Spread, observe};
use d2v_train::step::{Learner, MaskedBatch, StepSettings};
use tch::{Device, Kind, Tensor};

const RECIPE: &str = include_str!("../../configs/image-tiny.toml");
const SAMPLES: u64 = 64;
const SIDE_PX: i64 = 32;

fn step(criterion: &mut Criterion) {
    let config: RunConfig = toml::from_str(RECIPE).expect("the recipe is tested");
    let place = (Device::Cpu, Kind::Float, config.seed);
    let mut learner = Learner::new(
        &config.model,
        config.teacher.averaged,
        &config.targets,
        config.loss,
        &config.optimizer,
        place,
    )
    .expect("the recipe is tested");
    let ids: Vec<u64> = (0..SAMPLES).collect();
    let mask =
        Masks::new(&config, None).and_then(|masks| masks.preview(0, &ids, 1)).expect("the recipe is tested");
    let input = Tensor::randn([SAMPLES as i64, 3, SIDE_PX, SIDE_PX], (Kind::Float, Device::Cpu));
    let batch = [MaskedBatch::new(input, &mask, None)];
    let settings = |update, observe| StepSettings {
        seed: 0,
        update,
        lr: 1e-4,
        tau: 0.999,
        precision: Kind::Float,
        recompute: false,
        observe,
    };

    let mut group = criterion.benchmark_group("step/image-tiny");
    group.sample_size(20);
    group.throughput(Throughput::Elements(SAMPLES));
    let shape = format!("{SAMPLES}x3x{SIDE_PX}x{SIDE_PX}");
    let mut update = 0;
    group.bench_function(BenchmarkId::new("plain", &shape), |bencher| {
        bencher.iter(|| {
            update += 1;
            learner.step(&batch, &settings(update, false)).map(|report| report.loss)
        });
    });
    group.bench_function(BenchmarkId::new("watched", &shape), |bencher| {
        bencher.iter(|| {
            update += 1;
            let settings = settings(update, true);
            let report = learner.step(&batch, &settings).expect("the shapes fit");
            let seen = report.observed.expect("it was asked for");
            let recent = Recent { loss: report.loss, grad_norm: report.grad_norm, warmup_fraction: 0.1 };
            let spread = Spread::of(&seen).expect("the shapes fit").expect("many hidden positions");
            observe(&learner, &config.loss, &settings, (&seen, &batch[0].hidden_m), &spread, recent)
                .map(|watched| watched.token_cosine)
        });
    });
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);

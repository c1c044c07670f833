//! Where the time of a step goes: blocks, attention, targets, loss, optimizer, moving average, one by one; the front ends
//! are in `front_ends.rs`.
//! Shapes are in the names: samples x tokens x width, or what stands there. f32 on the CPU, libtorch's own threads.
//!
//! `cargo bench -p d2v-benches --bench network`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_ema::{Ema, Rule};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization, TargetRule, TopLayerAverage};
use d2v_torch::{ParamStore, Parameters, foreach};
use d2v_train::optimizer::{EpsPlacement, NoDecay, Optimizer, OptimizerConfig};
use d2v_transformer::{Pass, Size, Tokens, Transformer, TransformerConfig, Wanted};
use tch::{Device, Kind, Tensor};

const HOST: (Kind, Device) = (Kind::Float, Device::Cpu);
/// 14 x 14 patches and the class token.
const TOKENS: i64 = 197;

/// A stack of one block (and the final norm of images, whose share is small), and its parameters.
fn one_block(config: &TransformerConfig) -> (Transformer, Parameters) {
    let config = TransformerConfig { depth: 1, ..config.clone() };
    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let transformer = Transformer::new(&store.root(), &config).expect("published sizes are valid");
    (transformer, store.into_parameters())
}

fn block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.sample_size(20);
    let image = TransformerConfig::image;
    for (name, config, samples, tokens) in [
        ("image-tiny", image(Size::Tiny), 8, TOKENS),
        ("image-base", image(Size::Base), 2, TOKENS),
        ("speech-base", TransformerConfig::sequence(Size::Base), 2, 249),
        ("text-base", TransformerConfig::sequence(Size::Base), 1, 512),
    ] {
        let (transformer, parameters) = one_block(&config);
        let input = Tokens::plain(Tensor::randn([samples, tokens, config.width], HOST));
        let shape = format!("{name}/{samples}x{tokens}x{}", config.width);
        let flops = samples as u64 * config.block_flops(tokens as u64);
        group.throughput(Throughput::Elements(flops));
        group.bench_function(BenchmarkId::new("forward", &shape), |bencher| {
            bencher.iter(|| tch::no_grad(|| transformer.encode(&input, Wanted::All, Pass::Eval, None)));
        });
        group.throughput(Throughput::Elements(3 * flops));
        group.bench_function(BenchmarkId::new("forward-backward", &shape), |bencher| {
            bencher.iter(|| {
                let last =
                    transformer.encode(&input, Wanted::All, Pass::Train { key: 0, recompute: false }, None);
                last.expect("the shapes fit").sum(Kind::Float).backward();
                foreach::clear_grads(&parameters.tensors())
            });
        });
    }
    group.finish();
}

/// libtorch's kernel alone: what a block spends beyond it and its products is ours.
fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    group.sample_size(20);
    let (heads, head_width) = (12, 64);
    for (name, samples, tokens, biased) in
        [("image", 2, TOKENS, true), ("speech", 2, 249, false), ("text", 1, 512, false)]
    {
        let part = || Tensor::randn([samples, heads, tokens, head_width], HOST).set_requires_grad(true);
        let qkv = [part(), part(), part()];
        let bias_bhll =
            biased.then(|| Tensor::randn([1, heads, tokens, tokens], HOST).set_requires_grad(true));
        let leaves: Vec<Tensor> = qkv.iter().chain(&bias_bhll).map(Tensor::shallow_clone).collect();
        let attend = || {
            let [q, k, v] = &qkv;
            Tensor::scaled_dot_product_attention(q, k, v, bias_bhll.as_ref(), 0.0, false, None, false)
        };
        let shape = format!("{name}/{samples}x{heads}x{tokens}x{head_width}");
        group.bench_function(BenchmarkId::new("forward", &shape), |bencher| {
            bencher.iter(|| tch::no_grad(attend));
        });
        group.bench_function(BenchmarkId::new("forward-backward", &shape), |bencher| {
            bencher.iter(|| {
                attend().sum(Kind::Float).backward();
                foreach::clear_grads(&leaves)
            });
        });
    }
    group.finish();
}

fn targets_and_loss(criterion: &mut Criterion) {
    let (samples, positions, width, top_k) = (8, TOKENS - 1, 768, 6);
    let layers: Vec<Tensor> = (0..top_k).map(|_| Tensor::randn([samples, positions, width], HOST)).collect();
    let mut group = criterion.benchmark_group("targets");
    group.sample_size(20);
    for (name, per_layer, post) in [
        ("layer-norm-twice", Normalization::LayerNorm, Normalization::LayerNorm),
        ("instance-norm", Normalization::InstanceNorm, Normalization::None),
    ] {
        let rule = TopLayerAverage { top_k, per_layer, post };
        let shape = format!("{top_k}x{samples}x{positions}x{width}");
        group.bench_function(BenchmarkId::new(name, shape), |bencher| {
            bencher.iter(|| rule.targets(black_box(&layers)));
        });
    }
    group.finish();

    let hidden = 120 * samples;
    let predictions_md = Tensor::randn([hidden, width], HOST).set_requires_grad(true);
    let targets_md = Tensor::randn([hidden, width], HOST);
    let loss = LossConfig { element: LossKind::SmoothL1 { beta: 2.0 }, scale: LossScale::InverseWidth };
    criterion.bench_function(&format!("loss/forward-backward/{hidden}x{width}"), |bencher| {
        bencher.iter(|| {
            loss.sum(&predictions_md, &targets_md).expect("the shapes fit").backward();
            foreach::clear_grads(std::slice::from_ref(&predictions_md))
        });
    });
}

fn weights(criterion: &mut Criterion) {
    let parameters = |seed| {
        let store = ParamStore::new(Device::Cpu, Kind::Float, seed);
        Transformer::new(&store.root(), &TransformerConfig::image(Size::Small))
            .expect("published sizes are valid");
        store.into_parameters()
    };
    let (student, teacher) = (parameters(0), parameters(1));
    teacher.set_requires_grad(false);
    let mut group = criterion.benchmark_group("weights");
    group.sample_size(20);
    group.throughput(Throughput::Elements(student.count() as u64));
    let shape = format!("{}-parameters", student.count());

    let config = OptimizerConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        eps_placement: EpsPlacement::Corrected,
        weight_decay: 0.05,
        no_decay: NoDecay { one_dimensional: true, names: Vec::new() },
        clip_norm: Some(3.0),
    };
    let mut optimizer = Optimizer::new(&config, &student).expect("published settings are valid");
    // No backward pass was run: the gradients are zeros of the right shapes, which take as long as any.
    let gradients = optimizer.gradients();
    group.bench_function(BenchmarkId::new("global-norm", &shape), |bencher| {
        bencher.iter(|| foreach::global_norm(&gradients));
    });
    let (norm, no_skip) = (Tensor::from(1f32), Tensor::from(0f32));
    group.bench_function(BenchmarkId::new("adamw", &shape), |bencher| {
        bencher.iter(|| optimizer.step(&gradients, &norm, &no_skip, (1e-3, 1)));
    });
    let ema = Ema::pair(&student, &teacher, &Rule::average_all()).expect("the same network twice");
    group.bench_function(BenchmarkId::new("moving-average", &shape), |bencher| {
        bencher.iter(|| ema.update(0.999));
    });
    group.finish();
}

criterion_group!(benches, block, attention, targets_and_loss, weights);
criterion_main!(benches);

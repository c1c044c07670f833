//! Where the time of a step goes: blocks, attention, feed-forward, targets, loss, optimizer, moving average, one by one; the front ends
//! are in `front_ends.rs`.
//! Shapes are in the names: samples x tokens x width, or what stands there. f32 on the CPU, libtorch's own threads.
//!
//! `cargo bench -p d2v-benches --bench network`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_ema::{Ema, Rule};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization, TargetRule, TopLayerAverage};
use d2v_torch::attention::attention as attend;
use d2v_torch::fused::{LinearMap, feed_forward as feed_forward_of};
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
        // Pictures have a bias of positions, which learns.
        let bias_bhll = name
            .starts_with("image")
            .then(|| Tensor::randn([1, config.heads, tokens, tokens], HOST).set_requires_grad(true));
        let mut leaves = parameters.tensors();
        leaves.extend(bias_bhll.iter().map(Tensor::shallow_clone));
        let input =
            Tokens { bias_bhll, ..Tokens::plain(Tensor::randn([samples, tokens, config.width], HOST)) };
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
                foreach::clear_grads(&leaves)
            });
        });
    }
    group.finish();
}

/// The kernel that blocks use beside libtorch's operator on the same packed query, key and value.
fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    group.sample_size(20);
    let (heads, head_width) = (12, 64);
    let width = heads * head_width;
    for (name, samples, tokens, biased) in
        [("image", 2, TOKENS, true), ("speech", 2, 249, false), ("text", 1, 512, false)]
    {
        let qkv_bl3d = Tensor::randn([samples, tokens, 3 * width], HOST).set_requires_grad(true);
        let bias_bhll =
            biased.then(|| Tensor::randn([1, heads, tokens, tokens], HOST).set_requires_grad(true));
        let leaves: Vec<Tensor> =
            std::iter::once(&qkv_bl3d).chain(&bias_bhll).map(Tensor::shallow_clone).collect();
        let ours = || attend(&qkv_bl3d, heads, bias_bhll.as_ref(), None).expect("the shapes fit");
        let operator = || {
            let qkv = qkv_bl3d.view([samples, tokens, 3, heads, head_width]).permute([2, 0, 3, 1, 4]);
            let parts = qkv.unbind(0);
            let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
            let out_bhle =
                Tensor::scaled_dot_product_attention(q, k, v, bias_bhll.as_ref(), 0.0, false, None, false);
            out_bhle.transpose(1, 2).reshape([samples, tokens, width])
        };
        let shape = format!("{name}/{samples}x{heads}x{tokens}x{head_width}");
        let ways: [(&str, &dyn Fn() -> Tensor); 2] = [("ours", &ours), ("operator", &operator)];
        for (way, attend) in ways {
            group.bench_function(BenchmarkId::new(format!("{way}/forward"), &shape), |bencher| {
                bencher.iter(|| tch::no_grad(attend));
            });
            group.bench_function(BenchmarkId::new(format!("{way}/forward-backward"), &shape), |bencher| {
                bencher.iter(|| {
                    attend().sum(Kind::Float).backward();
                    foreach::clear_grads(&leaves)
                });
            });
        }
    }
    group.finish();
}

/// fc2(gelu(fc1(x))) as blocks run it, beside its operators.
fn feed_forward(criterion: &mut Criterion) {
    let (rows, width) = (2 * TOKENS, 768);
    let parameter = |shape: &[i64]| (Tensor::randn(shape, HOST) * 0.02).set_requires_grad(true);
    let (w1, b1) = (parameter(&[4 * width, width]), parameter(&[4 * width]));
    let (w2, b2) = (parameter(&[width, 4 * width]), parameter(&[width]));
    let x = Tensor::randn([rows, width], HOST).set_requires_grad(true);
    let leaves = [&x, &w1, &b1, &w2, &b2].map(Tensor::shallow_clone);
    let map = |weight, bias| LinearMap { weight, bias };
    let ours = || feed_forward_of(&x, map(&w1, &b1), map(&w2, &b2)).expect("the shapes fit");
    let operators = || x.linear(&w1, Some(&b1)).gelu("none").linear(&w2, Some(&b2));
    let mut group = criterion.benchmark_group("feed-forward");
    group.sample_size(20);
    group.throughput(Throughput::Elements((3 * 16 * rows * width * width) as u64));
    let ways: [(&str, &dyn Fn() -> Tensor); 2] = [("ours", &ours), ("operators", &operators)];
    for (way, run) in ways {
        let id = BenchmarkId::new(format!("{way}/forward-backward"), format!("{rows}x{width}"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                run().sum(Kind::Float).backward();
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

criterion_group!(benches, block, attention, feed_forward, targets_and_loss, weights);
criterion_main!(benches);

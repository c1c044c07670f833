//! Where the time of a step goes: front end, blocks, attention, targets, loss, optimizer, moving average, one by one.
//! Shapes are in the names: samples x tokens x width, or what stands there. f32 on the CPU, libtorch's own threads.
//!
//! `cargo bench -p d2v-benches --bench network`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_ema::{Ema, Rule};
use d2v_encoders::{Hidden, ImageConfig, ImageEncoder, ModalityEncoder};
use d2v_masking::{BlocksConfig, MaskConfig, MaskKey, Positions};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization, TargetRule, TopLayerAverage};
use d2v_torch::{ParamStore, Parameters, foreach};
use d2v_train::optimizer::{EpsPlacement, NoDecay, Optimizer, OptimizerConfig};
use d2v_transformer::{Pass, Size, Tokens, Transformer, TransformerConfig, Wanted};
use tch::{Device, Kind, Tensor};

const HOST: (Kind, Device) = (Kind::Float, Device::Cpu);
/// 14 x 14 patches and the class token.
const TOKENS: i64 = 197;

/// A stack of one block (and the final norm, whose share is small), and its parameters.
fn one_block(size: Size) -> (Transformer, Parameters) {
    let config = TransformerConfig { depth: 1, ..TransformerConfig::image(size) };
    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let transformer = Transformer::new(&store.root(), &config).expect("published sizes are valid");
    (transformer, store.into_parameters())
}

fn tokens(samples: i64, width: i64) -> Tokens {
    Tokens::plain(Tensor::randn([samples, TOKENS, width], HOST))
}

fn block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.sample_size(20);
    for (name, size, samples) in [("tiny", Size::Tiny, 8), ("base", Size::Base, 2)] {
        let (transformer, parameters) = one_block(size);
        let config = transformer.config().clone();
        let input = tokens(samples, config.width);
        let shape = format!("{name}/{samples}x{TOKENS}x{}", config.width);
        let flops = samples as u64 * config.block_flops(TOKENS as u64);
        group.throughput(Throughput::Elements(flops));
        group.bench_function(BenchmarkId::new("forward", &shape), |bencher| {
            bencher.iter(|| tch::no_grad(|| transformer.encode(&input, Wanted::All, Pass::Eval, None)));
        });
        group.throughput(Throughput::Elements(3 * flops));
        group.bench_function(BenchmarkId::new("forward-backward", &shape), |bencher| {
            bencher.iter(|| {
                let last = transformer.encode(&input, Wanted::All, Pass::Train { key: 0 }, None);
                last.expect("the shapes fit").sum(Kind::Float).backward();
                foreach::clear_grads(&parameters.tensors())
            });
        });
    }
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    let (samples, heads, head_width) = (8, 3, 64);
    let qkv = Tensor::randn([3, samples, heads, TOKENS, head_width], HOST);
    let bias_bhll = Tensor::randn([1, heads, TOKENS, TOKENS], HOST);
    for (name, bias) in [("plain", None), ("relative-bias", Some(&bias_bhll))] {
        group.bench_function(
            BenchmarkId::new(name, format!("{samples}x{heads}x{TOKENS}x{head_width}")),
            |bencher| {
                let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
                bencher
                    .iter(|| Tensor::scaled_dot_product_attention(&q, &k, &v, bias, 0.0, false, None, false));
            },
        );
    }
    group.finish();
}

fn front_end(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("front-end");
    let (samples, width, heads) = (8, 768, 12);
    let config = ImageConfig::vit16();
    let init = TransformerConfig::image(Size::Base).init;
    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let encoder =
        ImageEncoder::new(&store.root(), &config, width, heads, init).expect("published sizes are valid");
    let pictures = Tensor::randn([samples, 3, 224, 224], HOST);
    let keys: Vec<MaskKey> =
        (0..samples as u64).map(|sample_id| MaskKey { sample_id, ..MaskKey::default() }).collect();
    let sampler = MaskConfig::Blocks(BlocksConfig::default()).build().expect("published settings are valid");
    let mask = sampler
        .sample_batch(Positions::Grid { height: 14, width: 14 }, None, &keys)
        .expect("they suit the grid");
    let mask_bl = Tensor::from_slice(mask.as_slice()).view([samples, TOKENS - 1]);
    group.throughput(Throughput::Elements(samples as u64));
    group.bench_function(format!("masked/{samples}x3x224x224"), |bencher| {
        bencher.iter(|| {
            tch::no_grad(|| {
                let features = encoder.features(&pictures).expect("the shapes fit");
                encoder.tokens(&features, Some(Hidden { mask_bl: &mask_bl }), None, Pass::Eval)
            })
        });
    });
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
    group.bench_function(BenchmarkId::new("adamw", &shape), |bencher| {
        bencher.iter(|| optimizer.step(&gradients, 1e-3));
    });
    let ema = Ema::pair(&student, &teacher, &Rule::average_all()).expect("the same network twice");
    group.bench_function(BenchmarkId::new("moving-average", &shape), |bencher| {
        bencher.iter(|| ema.update(0.999));
    });
    group.finish();
}

criterion_group!(benches, front_end, block, attention, targets_and_loss, weights);
criterion_main!(benches);

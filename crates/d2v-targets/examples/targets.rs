//! Targets from layers, the loss of some predictions, and what the statistics say of healthy and collapsed targets:
//! `cargo run --release -p d2v-targets --example targets`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_targets::statistics::{effective_rank, position_share, r2, token_std};
use d2v_targets::{Error, LossConfig, LossKind, LossScale, Normalization, TargetRule, TopLayerAverage};
use tch::{Device, Kind, Tensor};

/// Samples, positions, width.
const SHAPE: [i64; 3] = [16, 64, 32];

fn main() -> Result<(), Error> {
    tch::manual_seed(0);
    let noise = || Tensor::randn(SHAPE, (Kind::Float, Device::Cpu));
    let position = Tensor::randn([1, SHAPE[1], SHAPE[2]], (Kind::Float, Device::Cpu));
    let direction = Tensor::randn([1, 1, SHAPE[2]], (Kind::Float, Device::Cpu));
    let one_number = Tensor::randn([SHAPE[0], SHAPE[1], 1], (Kind::Float, Device::Cpu));
    println!("teacher's layers              deviation  effective rank  position share    loss of 0      R2");
    for (name, layers) in [
        ("different everywhere", (0..3).map(|_| noise()).collect::<Vec<_>>()),
        ("position, whatever the sample", (0..3).map(|_| &position + noise() * 0.2).collect()),
        ("one direction", (0..3).map(|_| &one_number * &direction + noise() * 0.01).collect()),
    ] {
        report(name, &layers)?;
    }
    Ok(())
}

fn report(name: &str, layers: &[Tensor]) -> Result<(), Error> {
    let rule = TopLayerAverage {
        top_k: layers.len(),
        per_layer: Normalization::InstanceNorm,
        post: Normalization::LayerNorm,
    };
    let targets_bld = rule.targets(layers)?;
    let targets_md = targets_bld.view([-1, SHAPE[2]]);
    // A student that knows the mean of each position and nothing else.
    let predictions_md =
        targets_bld.mean_dim(0i64, true, None::<Kind>).expand(SHAPE, false).reshape([-1, SHAPE[2]]);
    let loss = LossConfig { element: LossKind::SmoothL1 { beta: 2.0 }, scale: LossScale::InverseWidth };
    let zero = loss.sum(&targets_md.zeros_like(), &targets_md)? / targets_md.size()[0] as f64;
    println!(
        "{name:30}{:9.2}{:16.1}{:16.2}{:13.3}{:8.2}",
        token_std(&targets_md)?,
        effective_rank(&targets_md)?,
        position_share(&targets_bld)?,
        zero.double_value(&[]),
        r2(&predictions_md, &targets_md)?
    );
    Ok(())
}

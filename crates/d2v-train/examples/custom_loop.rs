//! A training loop of your own around [`Learner::step`], without files or configuration:
//! `cargo run --release -p d2v-train --example custom_loop`. Predicting zero everywhere has a loss of 1; the student gets below
//! it after some sixty updates.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_data::{
    BatchSize, Cursor, ImageTransform, Loader, LoaderConfig, Split, SyntheticConfig, SyntheticImages,
    Transform,
};
use d2v_encoders::{EncoderConfig, ImageConfig, ImagePosition};
use d2v_masking::{BlocksConfig, MaskConfig, MaskKey, Positions};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization};
use d2v_train::batches::input_tensor;
use d2v_train::network::ModelConfig;
use d2v_train::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use d2v_train::step::{Averaged, Learner, MaskedBatch, Objective, StepSettings, TeacherSees};
use d2v_transformer::{HeadConfig, InitScheme, Intermediate, Size, TransformerConfig};
use std::sync::Arc;
use tch::{Device, Kind};

const SEED: u64 = 0;
const STEPS: u64 = 200;

fn main() -> anyhow::Result<()> {
    let position = ImagePosition::SinCos { scale: 0.5 };
    let patches = ImageConfig { image_size: 32, patch_size: 4, channels: 3, position, class_token: false };
    let sizes = TransformerConfig {
        width: 64,
        depth: 3,
        heads: 4,
        ffn_width: 256,
        ..TransformerConfig::image(Size::Tiny)
    };
    let model = ModelConfig {
        encoder: EncoderConfig::Image(patches),
        transformer: TransformerConfig { layer_scale: None, init: InitScheme::Xavier, ..sizes },
        head: HeadConfig::Linear {},
    };
    let (per_layer, post) = (Normalization::InstanceNorm, Normalization::LayerNorm);
    let (layer, teacher_sees) = (Intermediate::FeedForward, TeacherSees::All);
    let objective = Objective { layer, top_k: 3, per_layer, post, teacher_sees };
    let loss = LossConfig { element: LossKind::L2 {}, scale: LossScale::InverseWidth };
    let optimizer = OptimizerConfig {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        eps_placement: EpsPlacement::Corrected,
        weight_decay: 0.05,
        no_decay: NoDecay { one_dimensional: true, names: Vec::new() },
        clip_norm: Some(4.0),
    };
    let place = (Device::Cpu, Kind::Float, SEED);
    let mut learner = Learner::new(&model, Averaged::All, &objective, loss, &optimizer, place)?;

    let pictures = Arc::new(SyntheticImages::new(SyntheticConfig::default(), Split::Train)?);
    let transform = Transform::Image(ImageTransform::small(32, 3));
    let config =
        LoaderConfig { batch: BatchSize::Samples(32), seed: SEED, transform, ..LoaderConfig::default() };
    let loader = Loader::new(pictures, config, Cursor::default())?;
    let blocks = BlocksConfig { target_count: 38, min_block: 4, max_block: 64, ..BlocksConfig::default() };
    let sampler = MaskConfig::Blocks(blocks).build()?;

    for (update, batch) in (1..=STEPS).zip(loader) {
        let batch = batch?;
        let key = |&sample_id: &u64| MaskKey { seed: SEED, epoch: batch.epoch, sample_id, clone: 0 };
        let keys: Vec<MaskKey> = batch.ids().iter().map(key).collect();
        let mask = sampler.sample_batch(Positions::Grid { height: 8, width: 8 }, None, &keys)?;
        let masked = MaskedBatch::new(input_tensor(&batch.inputs), &mask, None);

        // A warm-up of ten updates; the teacher keeps 99.8 % of itself at each.
        let lr = 1e-3 * (update as f64 / 10.0).min(1.0);
        let precision = Kind::Float;
        let settings =
            StepSettings { seed: SEED, update, lr, tau: 0.998, precision, recompute: false, observe: false };
        let report = learner.step(&[masked], &settings)?;
        if update % 20 == 0 {
            println!("update {update}: loss {:.3}, gradient norm {:.2}", report.loss, report.grad_norm);
        }
    }
    Ok(())
}

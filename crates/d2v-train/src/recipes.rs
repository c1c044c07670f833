//! Published recipes in named sizes: what `d2v bench-step` times and `d2v gpu-check` runs.

use crate::Result;
use crate::network::ModelConfig;
use crate::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use crate::step::{Averaged, Learner, MaskedBatch, Objective};
use d2v_encoders::{EncoderConfig, ImageConfig};
use d2v_masking::{MaskKey, MaskSampler, Positions, Random, RandomConfig};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization};
use d2v_torch::seed;
use d2v_transformer::{HeadConfig, Intermediate, Size, TransformerConfig};
use tch::{Device, Kind, Tensor};

/// Everything that decides a [`Learner`] but its device, kind and seed.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// The network.
    pub model: ModelConfig,
    /// Which part of the teacher is a moving average.
    pub averaged: Averaged,
    /// What the student learns.
    pub objective: Objective,
    /// How far off it is.
    pub loss: LossConfig,
    /// How it moves.
    pub optimizer: OptimizerConfig,
}

impl LearnerConfig {
    /// Images of data2vec 1.0 as the published models were trained (spec 2.1), without dropout: patches of 16 on 224
    /// pixels, relative bias, class token, everything averaged, the outputs of the top 6 blocks normalised twice,
    /// smooth L1 with beta 2, AdamW, gradients clipped at 3.
    pub fn image(size: Size) -> LearnerConfig {
        LearnerConfig {
            model: ModelConfig {
                encoder: EncoderConfig::Image(ImageConfig::vit16()),
                transformer: TransformerConfig::image(size),
                head: HeadConfig::Linear {},
            },
            averaged: Averaged::All,
            objective: Objective {
                layer: Intermediate::Block,
                top_k: 6,
                per_layer: Normalization::LayerNorm,
                post: Normalization::LayerNorm,
            },
            loss: LossConfig { element: LossKind::SmoothL1 { beta: 2.0 }, scale: LossScale::InverseWidth },
            optimizer: OptimizerConfig {
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                eps_placement: EpsPlacement::Corrected,
                weight_decay: 0.05,
                no_decay: NoDecay { one_dimensional: true, names: vec!["cls_token".into()] },
                clip_norm: Some(3.0),
            },
        }
    }

    /// A fresh student and its teacher.
    ///
    /// # Errors
    /// As [`Learner::new`].
    pub fn learner(&self, device: Device, kind: Kind, seed: u64) -> Result<Learner> {
        let place = (device, kind, seed);
        Learner::new(&self.model, self.averaged, &self.objective, self.loss, &self.optimizer, place)
    }

    /// The front end of pictures.
    pub fn image_encoder(&self) -> &ImageConfig {
        let EncoderConfig::Image(image) = &self.model.encoder;
        image
    }

    /// Positions of one sample, the class token not counted.
    pub fn positions(&self) -> usize {
        self.image_encoder().side().pow(2) as usize
    }

    /// A batch of normal noise whose rows hide equally many positions, about 60 %; a function of `draw`.
    ///
    /// # Errors
    /// If there are too few positions for a mask.
    pub fn noise(&self, samples: usize, draw: u64, device: Device) -> Result<MaskedBatch> {
        let ImageConfig { image_size, channels, .. } = *self.image_encoder();
        let shape = [samples as i64, channels, image_size, image_size];
        let input = seed::seeded(&[draw], || Tensor::randn(shape, (Kind::Float, device)));
        let sampler = Random::new(RandomConfig { mask_prob: 0.6, ..RandomConfig::default() })?;
        let key = |sample_id| MaskKey { seed: draw, epoch: 0, sample_id, clone: 0 };
        let keys: Vec<MaskKey> = (0..samples as u64).map(key).collect();
        let mask = sampler.sample_batch(Positions::Line { len: self.positions() }, None, &keys)?;
        Ok(MaskedBatch::new(input, &mask, None))
    }

    /// Floating-point operations of a step by the formula of `torch_step.py`: teacher forward, student forward,
    /// backward at twice the forward; patch and matrix products, class token and head left out.
    pub fn peer_flops(&self, samples: usize) -> u64 {
        let ModelConfig { transformer, .. } = &self.model;
        let image = self.image_encoder();
        let positions = self.positions() as u64;
        let patch = (image.channels * image.patch_size.pow(2)) as u64;
        let stack = transformer.depth as u64 * transformer.block_flops(positions);
        samples as u64 * 4 * (stack + 2 * positions * patch * transformer.width as u64)
    }

    /// The same recipe on a network of a few thousand parameters, for tests and for machines without a GPU.
    pub fn shrunk(mut self) -> LearnerConfig {
        let EncoderConfig::Image(image) = &mut self.model.encoder;
        (image.image_size, image.patch_size) = (32, 8);
        let transformer = &mut self.model.transformer;
        (transformer.width, transformer.depth, transformer.heads, transformer.ffn_width) = (32, 2, 2, 128);
        self.objective.top_k = 2;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operations_are_those_of_the_peer() {
        // torch_step.py's flops("vision", "base", 8, 196, 0), computed by Python.
        assert_eq!(LearnerConfig::image(Size::Base).peer_flops(8), 1_118_136_434_688);
        assert_eq!(LearnerConfig::image(Size::Tiny).peer_flops(1), 9_970_974_720);
    }

    #[test]
    fn noise_hides_the_same_number_in_every_row_and_is_reproducible() {
        let config = LearnerConfig::image(Size::Tiny);
        let batch = config.noise(3, 7, Device::Cpu).unwrap();
        let counts = batch.mask_bl.sum_dim_intlist(1i64, false, Kind::Int64);
        assert_eq!(Vec::<i64>::try_from(counts).unwrap(), [118; 3]);
        let again = config.noise(3, 7, Device::Cpu).unwrap();
        assert!(
            again.input.equal(&batch.input) && again.mask_bl.equal(&batch.mask_bl),
            "the same draw differs"
        );
        assert!(!config.noise(3, 8, Device::Cpu).unwrap().input.equal(&batch.input), "another draw does not");
    }
}

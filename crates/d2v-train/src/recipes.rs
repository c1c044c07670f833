//! Published recipes in named sizes: what `d2v bench-step` times and `d2v gpu-check` runs.

use crate::Result;
use crate::network::ModelConfig;
use crate::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use crate::step::{Averaged, Learner, MaskedBatch, Objective, TeacherSees};
use d2v_encoders::{AudioConfig, AudioFeatures, EncoderConfig, ImageConfig, TextConfig, TokenIds};
use d2v_masking::{MaskKey, MaskSampler, Positions, Random, RandomConfig};
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization};
use d2v_torch::seed;
use d2v_transformer::{HeadConfig, Intermediate, Size, TransformerConfig};
use tch::{Device, Kind, Tensor};

/// The modality of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modality {
    /// Pictures of 224 pixels.
    Image,
    /// Sound of 16 kHz.
    Audio,
    /// RoBERTa's tokens.
    Text,
}

impl Modality {
    /// The modality in a word, as in files.
    pub fn name(self) -> &'static str {
        match self {
            Modality::Image => "image",
            Modality::Audio => "audio",
            Modality::Text => "text",
        }
    }
}

/// Everything that decides a [`Learner`] but its device, kind and seed; and the inputs that it is timed on.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// Length of an input: samples of sound, tokens; 1 for pictures.
    pub length: i64,
    /// Share of the positions that are hidden.
    pub hidden_share: f64,
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
    /// The published recipe of a modality.
    pub fn of(modality: Modality, size: Size) -> LearnerConfig {
        match modality {
            Modality::Image => LearnerConfig::image(size),
            Modality::Audio => LearnerConfig::audio(size),
            Modality::Text => LearnerConfig::text(size),
        }
    }

    /// Images of data2vec 1.0 as the published models were trained (spec 2.1), without dropout: patches of 16 on 224
    /// pixels, relative bias, class token, everything averaged, the outputs of the top 6 blocks normalised twice,
    /// smooth L1 with beta 2, AdamW, gradients clipped at 3.
    pub fn image(size: Size) -> LearnerConfig {
        LearnerConfig {
            length: 1,
            hidden_share: 0.6,
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
                teacher_sees: TeacherSees::All,
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

    /// Speech of data2vec 1.0 (spec 2.2), without dropout, on 5 s: seven convolutions, the Transformer averaged, the
    /// feed-forward outputs of the top 8 blocks with instance norm, squared error, Adam without clipping.
    pub fn audio(size: Size) -> LearnerConfig {
        LearnerConfig {
            length: 5 * 16_000,
            hidden_share: 0.49,
            model: ModelConfig {
                encoder: EncoderConfig::Audio(AudioConfig::data2vec()),
                transformer: TransformerConfig { input_norm: true, ..TransformerConfig::sequence(size) },
                head: HeadConfig::Linear {},
            },
            averaged: Averaged::Transformer,
            objective: Objective {
                layer: Intermediate::FeedForward,
                top_k: 8,
                per_layer: Normalization::InstanceNorm,
                post: Normalization::None,
                teacher_sees: TeacherSees::All,
            },
            loss: LossConfig { element: LossKind::L2 {}, scale: LossScale::InverseSqrtWidth },
            optimizer: OptimizerConfig {
                beta1: 0.9,
                beta2: 0.98,
                eps: 1e-6,
                eps_placement: EpsPlacement::Uncorrected,
                weight_decay: 0.01,
                no_decay: NoDecay::default(),
                clip_norm: None,
            },
        }
    }

    /// Text of data2vec 1.0 (spec 2.3), without dropout, on 512 tokens: the Transformer averaged, the feed-forward
    /// outputs of the top 10 blocks with layer norm, smooth L1 with beta 4, gradients clipped at 5.
    pub fn text(size: Size) -> LearnerConfig {
        let transformer = TransformerConfig::sequence(size);
        let audio = LearnerConfig::audio(size);
        LearnerConfig {
            length: 512,
            hidden_share: 0.15,
            model: ModelConfig {
                encoder: EncoderConfig::Text(TextConfig::roberta()),
                head: HeadConfig::Mlp { hidden: 2 * transformer.width },
                transformer,
            },
            objective: Objective { top_k: 10, per_layer: Normalization::LayerNorm, ..audio.objective },
            loss: LossConfig { element: LossKind::SmoothL1 { beta: 4.0 }, scale: LossScale::One },
            optimizer: OptimizerConfig { clip_norm: Some(5.0), ..audio.optimizer },
            ..audio
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

    /// Positions of one sample, the class token not counted.
    pub fn positions(&self) -> usize {
        self.model.encoder.positions(self.length) as usize
    }

    /// A batch of noise (normal values, uniform token ids) whose rows hide equally many positions; a function of
    /// `draw`.
    ///
    /// # Errors
    /// If there are too few positions for a mask.
    pub fn noise(&self, samples: usize, draw: u64, device: Device) -> Result<MaskedBatch> {
        let b = samples as i64;
        let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, device));
        let input = seed::seeded(&[draw], || match &self.model.encoder {
            EncoderConfig::Image(image) => normal(&[b, image.channels, image.image_size, image.image_size]),
            EncoderConfig::Audio(audio) => normal(&[b, audio.channels, self.length]),
            EncoderConfig::Text(text) => {
                let words = text.ids.as_ref().map_or(1, |ids| ids.vocabulary - 1);
                Tensor::randint_low(words.min(4), words, [b, self.length], (Kind::Int64, device))
            }
        });
        let sampler = Random::new(RandomConfig { mask_prob: self.hidden_share, ..RandomConfig::default() })?;
        let key = |sample_id| MaskKey { seed: draw, epoch: 0, sample_id, clone: 0 };
        let keys: Vec<MaskKey> = (0..samples as u64).map(key).collect();
        let mask = sampler.sample_batch(Positions::Line { len: self.positions() }, None, &keys)?;
        Ok(MaskedBatch::new(input, &mask, None))
    }

    /// Floating-point operations of a step by the formula of `torch_step.py`: teacher forward, student forward,
    /// backward at twice the forward; matrix products, class token and head left out, the convolutions of sound once.
    pub fn peer_flops(&self, samples: usize) -> u64 {
        let ModelConfig { encoder, transformer, .. } = &self.model;
        let (positions, width) = (self.positions() as i64, transformer.width);
        let stack = transformer.depth as u64 * transformer.block_flops(positions as u64);
        let features = encoder.feature_flops(self.length, width);
        let (both, student) = match encoder {
            EncoderConfig::Audio(_) => (stack + encoder.positional_flops(positions, width), features),
            EncoderConfig::Image(_) | EncoderConfig::Text(_) => (stack + features, 0),
        };
        samples as u64 * (4 * both + 3 * student)
    }

    /// The same recipe on a network of a few thousand parameters, for tests and for machines without a GPU.
    pub fn shrunk(mut self) -> LearnerConfig {
        match &mut self.model.encoder {
            EncoderConfig::Image(image) => (image.image_size, image.patch_size) = (32, 8),
            EncoderConfig::Audio(audio) => {
                if let AudioFeatures::Waveform { layers, .. } = &mut audio.features {
                    layers.iter_mut().for_each(|layer| layer.width = 16);
                }
                self.length = 8_000;
            }
            EncoderConfig::Text(text) => {
                text.ids = Some(TokenIds { vocabulary: 64, pad: 1, mask: 63, special: vec![0, 1, 2, 3] });
                text.max_tokens = 32;
                self.length = 32;
            }
        }
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
        // The same for ("audio", "base", 4, 249, 5.0) and ("text", "base", 4, 512, 0).
        assert_eq!(LearnerConfig::audio(Size::Base).peer_flops(4), 1_038_001_446_912);
        assert_eq!(LearnerConfig::text(Size::Base).peer_flops(4), 1_546_188_226_560);
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

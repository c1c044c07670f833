//! How much memory training will take, before it takes it.
//!
//! Counted: parameters, gradients, both moments, the teacher, what the backward pass keeps of one micro-batch, and
//! the layers that targets are made of. Not counted: libtorch itself (about 0.3 GiB on the CPU, 0.5 GiB on CUDA),
//! loaded samples, buffers of single operations, and freed memory that an allocator keeps.

use crate::config::{Precision, RunConfig};
use d2v_encoders::{AudioFeatures, EncoderConfig, ImagePosition};
use serde::Serialize;

/// Expected bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// The student's parameters, f32.
    pub parameters: u64,
    /// Their gradients, f32.
    pub gradients: u64,
    /// AdamW's two means, f32.
    pub moments: u64,
    /// The teacher's parameters, f32.
    pub teacher: u64,
    /// What the backward pass keeps of one micro-batch.
    pub activations: u64,
    /// The teacher's top layers and the targets of one micro-batch, f32.
    pub targets: u64,
}

impl MemoryEstimate {
    /// For a student of `student` parameters and a teacher of `teacher`.
    ///
    /// Of each token a block keeps, with width `d` and feed-forward width `f`: in f32 the residual stream before both
    /// norms (`2d`); in the kind of the products the norms' outputs (`2d`), query, key and value (`3d`), the
    /// attention's output (`d`), both branches under a LayerScale (`2d`), the feed-forward layer before its activation
    /// (`f`). With a learned position bias and bf16 on the CPU no kernel is fused: attention keeps its weights twice
    /// (two per head and token) and copies of query, key and value (`5d`). All blocks count whole, the last one too.
    ///
    /// Measured peaks lie above the sum by what single operations need: on the CPU, the published network of size
    /// tiny takes 63 MiB more per sample where this says 52.
    pub fn of(config: &RunConfig, student: u64, teacher: u64) -> MemoryEstimate {
        let transformer = &config.model.transformer;
        let (d, f) = (transformer.width as u64, transformer.ffn_width as u64);
        let encoder = &config.model.encoder;
        let length = config.longest_input();
        let positions = encoder.positions(length) as u64;
        let tokens = positions + encoder.extra_tokens() as u64;
        let samples = config.samples_per_micro_batch();
        let product_bytes = config.precision.kind().elt_size_in_bytes() as u64;

        let branches = if transformer.layer_scale.is_some() { 2 * d } else { 0 };
        let biased = matches!(encoder, EncoderConfig::Image(image) if image.position == ImagePosition::RelativeBias {});
        let composed = biased && config.device == "cpu" && config.precision == Precision::Bf16;
        let weights = if composed { 2 * transformer.heads as u64 * tokens + 5 * d } else { 0 };
        let per_token = 4 * 2 * d + product_bytes * (6 * d + branches + f + weights);
        let blocks = transformer.depth as u64 * tokens * per_token;
        let front_end = 4 * front_end_values(encoder, length, d);
        // The mean over the layers is one more.
        let targets = 4 * positions * d * (config.targets.top_k as u64 + 1);
        MemoryEstimate {
            parameters: 4 * student,
            gradients: 4 * student,
            moments: 8 * student,
            teacher: 4 * teacher,
            activations: samples * (blocks + front_end),
            targets: samples * targets,
        }
    }

    /// The parts with their names.
    pub fn parts(&self) -> [(&'static str, u64); 6] {
        [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("moments of AdamW", self.moments),
            ("teacher", self.teacher),
            ("activations", self.activations),
            ("teacher's layers and targets", self.targets),
        ]
    }

    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Values that the front end keeps of one input for the backward pass: of each convolution its output, the norm's and
/// the activation's; of the rest the input and two tensors of the Transformer's width.
fn front_end_values(encoder: &EncoderConfig, length: i64, width: u64) -> u64 {
    let positions = encoder.positions(length) as u64;
    let own = match encoder {
        EncoderConfig::Image(image) => positions * (image.channels * image.patch_size.pow(2)) as u64,
        EncoderConfig::Audio(audio) => {
            let convolved = match &audio.features {
                AudioFeatures::Waveform { .. } => 3 * audio.convolved_values(length) as u64,
                AudioFeatures::LogMel { .. } => positions * audio.feature_width() as u64,
            };
            convolved + 3 * audio.positional.layers as u64 * positions * width
        }
        EncoderConfig::Text(_) => positions,
    };
    own + 2 * positions * width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;

    fn estimate(settings: &[&str]) -> MemoryEstimate {
        let overrides = settings.iter().map(|text| text.parse().unwrap()).collect();
        let config = RecipeArgs { overrides, ..RecipeArgs::default() }.load().unwrap();
        MemoryEstimate::of(&config, 1000, 900)
    }

    #[test]
    fn activations_grow_with_the_batch_and_nothing_else_does() {
        let (one, two) = (estimate(&["train.batch_size=64"]), estimate(&["train.batch_size=128"]));
        assert_eq!((2 * one.activations, 2 * one.targets), (two.activations, two.targets));
        assert_eq!((one.parameters, one.gradients, one.moments, one.teacher), (4000, 4000, 8000, 3600));
        assert_eq!(two.total() - one.total(), one.activations + one.targets);
        assert_eq!(estimate(&["train.batch_size=128", "train.accumulate=2"]), one, "a micro-batch at a time");
    }

    #[test]
    fn a_block_keeps_what_the_formula_says() {
        // Width 128, feed-forward 512, 64 tokens: 2d + 6d + f = 1536 values of 4 bytes per token and block.
        let per_block = 64 * 64 * 1536 * 4;
        let (four, five) = (
            estimate(&["train.batch_size=64"]),
            estimate(&["train.batch_size=64", "model.transformer.depth=5"]),
        );
        assert_eq!(five.activations - four.activations, per_block);
        let half = estimate(&["train.batch_size=64", "precision=bf16"]);
        assert!(half.activations < four.activations && half.activations > four.activations / 2, "bf16");
    }
}

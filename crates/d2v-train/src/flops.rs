//! The arithmetic of a step, by the cost model of specification 8; a multiply-add counts two.

use crate::config::RunConfig;
use crate::step::Averaged;
use d2v_encoders::{EncoderConfig, ImageConfig};
use d2v_transformer::HeadConfig;

/// Floating-point operations of one update: matrix products only, forward and backward, recomputation excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepFlops {
    /// The front end: student forward and weight gradients, and the teacher's where it has its own.
    pub front_end: u64,
    /// The teacher's blocks, up to the last target.
    pub teacher: u64,
    /// The student's blocks, forward and backward.
    pub student: u64,
    /// The prediction head at the hidden positions, forward and backward.
    pub head: u64,
}

impl StepFlops {
    /// For `samples` samples of which `hidden` positions in all are hidden.
    ///
    /// Every block counts whole, also the student's last, which computes less: the usual figure, comparable between
    /// programs.
    pub fn of(config: &RunConfig, samples: u64, hidden: u64) -> StepFlops {
        let transformer = &config.model.transformer;
        let width = transformer.width as u64;
        let EncoderConfig::Image(image) = &config.model.encoder;
        let patches = patches(image);
        let tokens = patches + u64::from(image.class_token);
        let stack = transformer.depth as u64 * transformer.block_flops(tokens);
        let embedding = 2 * patches * (image.channels * image.patch_size.pow(2)) as u64 * width;
        // No gradient flows to the pixels: forward and weight gradient, two products.
        let passes = 2 + u64::from(config.teacher.averaged == Averaged::All);
        let head = match config.model.head {
            HeadConfig::Linear {} => 2 * width * width,
            HeadConfig::Mlp { hidden } => 4 * width * hidden as u64,
        };
        StepFlops {
            front_end: samples * passes * embedding,
            teacher: samples * stack,
            student: samples * 3 * stack,
            head: 3 * hidden * head,
        }
    }

    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.front_end + self.teacher + self.student + self.head
    }
}

/// Patches of a picture.
fn patches(image: &ImageConfig) -> u64 {
    (image.side() * image.side()) as u64
}

//! The arithmetic of a step, by the cost model of specification 8; a multiply-add counts two.

use crate::config::RunConfig;
use crate::network::ModelConfig;
use crate::step::Averaged;
use d2v_encoders::EncoderConfig;
use d2v_transformer::HeadConfig;

/// Floating-point operations of one update: matrix products only, forward and backward, recomputation excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepFlops {
    /// The front end: student forward and weight gradients, and the teacher's where it has its own.
    pub front_end: u64,
    /// The teacher's positions and blocks, up to the last target.
    pub teacher: u64,
    /// The student's positions and blocks, forward and backward.
    pub student: u64,
    /// The prediction head at the hidden positions, forward and backward.
    pub head: u64,
}

impl StepFlops {
    /// For `samples` inputs of `length` each (samples of sound per channel, tokens; any number for pictures), of whose
    /// positions `hidden` in all are hidden.
    ///
    /// Every block counts whole, also the student's last, which computes less: the usual figure, comparable between
    /// programs.
    pub fn of(config: &RunConfig, samples: u64, length: i64, hidden: u64) -> StepFlops {
        let ModelConfig { encoder, transformer, .. } = &config.model;
        let width = transformer.width;
        let positions = encoder.positions(length);
        let tokens = (positions + encoder.extra_tokens()) as u64;
        let stack = transformer.depth as u64 * transformer.block_flops(tokens);
        let positional = encoder.positional_flops(positions, width);
        // No gradient flows to pictures; that to a first convolution's input is small (spec 8 counts three for sound).
        let backward = match encoder {
            EncoderConfig::Image(_) => 1,
            EncoderConfig::Audio(_) | EncoderConfig::Text(_) => 2,
        };
        let passes = 1 + backward + u64::from(config.teacher.averaged == Averaged::All);
        let head = match config.model.head {
            HeadConfig::Linear {} => 2 * width * width,
            HeadConfig::Mlp { hidden } => 4 * width * hidden,
        } as u64;
        StepFlops {
            front_end: samples * passes * encoder.feature_flops(length, width),
            teacher: samples * (positional + stack),
            student: samples * 3 * (positional + stack),
            head: 3 * hidden * head,
        }
    }

    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.front_end + self.teacher + self.student + self.head
    }
}

//! The configuration of a run, as in the TOML files under `configs/`.

mod train;

pub use train::TrainConfig;

use crate::batches::Predict;
use crate::collapse::CollapseConfig;
use crate::network::ModelConfig;
use crate::optimizer::OptimizerConfig;
use crate::schedule::{LearningRate, LearningRateConfig, Pace};
use crate::step::{Averaged, Objective};
use crate::{Error, Result, machine};
use d2v_data::{
    AudioOptions, OpenOptions, SyntheticConfig, SyntheticSoundsConfig, SyntheticTextConfig, TextOptions,
    Transform,
};
use d2v_ema::Tau;
use d2v_encoders::EncoderConfig;
use d2v_masking::{MaskConfig, Positions};
use d2v_targets::LossConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::{Device, Kind};

/// Everything a run depends on; saved with it as resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of start values, order, augmentation, masks and dropout.
    pub seed: u64,
    /// A run, or one of its checkpoints, whose weights student and teacher start from; absent: from fresh values. Only
    /// read when a run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "cpu")]
    pub device: String,
    /// Kind of the matrix products.
    #[serde(default)]
    pub precision: Precision,
    /// Threads of libtorch; 0: as many as libtorch finds cores.
    #[serde(default)]
    pub threads: u32,
    /// Length, batches and log.
    pub train: TrainConfig,
    /// Where samples come from and what is done to them.
    pub data: DataConfig,
    /// Which positions are hidden.
    pub mask: MaskConfig,
    /// Which of them are predicted, where the student sees other words at some.
    #[serde(default)]
    pub predict: Predict,
    /// The network.
    pub model: ModelConfig,
    /// The teacher.
    pub teacher: TeacherConfig,
    /// What the student learns.
    pub targets: Objective,
    /// How far off it is.
    pub loss: LossConfig,
    /// How it moves.
    pub optimizer: OptimizerConfig,
    /// How far it moves.
    pub learning_rate: LearningRateConfig,
    /// What is kept of the run.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What raises an alarm.
    #[serde(default)]
    pub collapse: CollapseConfig,
}

fn cpu() -> String {
    "cpu".into()
}

/// Kind of the matrix products; parameters, teacher, targets and loss are f32 in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// f32 whose products on CUDA use 10 bits of mantissa.
    Tf32,
    /// Products in bf16 by autocast.
    Bf16,
    /// bf16 on a GPU; on the CPU f32, unless the machine's products are faster in bf16. A run keeps what it began with.
    Auto,
}

impl Precision {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::Auto => "auto",
        }
    }

    /// The kind given to autocast; that of f32 as long as [`Precision::Auto`] is not resolved.
    pub fn kind(self) -> Kind {
        match self {
            Precision::F32 | Precision::Tf32 | Precision::Auto => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    /// What [`Precision::Auto`] means on this device; measured where that is the CPU. Others stay.
    pub fn resolve(self, device: Device) -> Precision {
        match (self, device) {
            (Precision::Auto, Device::Cuda(_)) => Precision::Bf16,
            (Precision::Auto, _) if machine::bf16_pays(device) => Precision::Bf16,
            (Precision::Auto, _) => Precision::F32,
            (chosen, _) => chosen,
        }
    }
}

/// Where samples come from and what is done to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder, archive, pattern of shards or IDX files; absent: the built-in data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The built-in pictures.
    #[serde(default)]
    pub synthetic: SyntheticConfig,
    /// The built-in sounds.
    #[serde(default)]
    pub synthetic_audio: SyntheticSoundsConfig,
    /// The built-in text.
    #[serde(default)]
    pub synthetic_text: SyntheticTextConfig,
    /// How pictures are opened.
    #[serde(default)]
    pub open: OpenOptions,
    /// How sound is opened.
    #[serde(default)]
    pub audio: AudioOptions,
    /// How text is opened.
    #[serde(default)]
    pub text: TextOptions,
    /// Augmentation and normalisation.
    pub transform: Transform,
    /// Threads that decode and augment; 0: a quarter of the cores, beside a GPU all but two.
    #[serde(default = "one")]
    pub threads: usize,
    /// Batches made ahead.
    #[serde(default = "four")]
    pub queue: usize,
    /// Different samples that may be unreadable before the run ends.
    #[serde(default = "hundred")]
    pub unreadable_limit: usize,
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

fn hundred() -> usize {
    100
}

/// The teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Which part is a moving average.
    pub averaged: Averaged,
    /// Its decay.
    pub tau: Tau,
}

/// What is kept of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// A checkpoint every so many updates; the last update always makes one. At least 1.
    pub every_steps: u64,
    /// The newest so many are kept. At least 1.
    pub keep_last: std::num::NonZeroUsize,
    /// Those at multiples of this are kept for good; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<std::num::NonZeroU64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        let keep_last = std::num::NonZeroUsize::MIN.saturating_add(1);
        CheckpointConfig { every_steps: 100, keep_last, keep_every: None }
    }
}

impl RunConfig {
    /// Checks what its parts cannot check alone.
    ///
    /// # Errors
    /// The first setting out of its range, or two that do not fit each other.
    pub fn validate(&self) -> Result<()> {
        let at_least_one = [
            ("train.accumulate", self.train.accumulate as u64),
            ("train.log_every_steps", self.train.log_every_steps),
            ("train.max_skipped_in_a_row", u64::from(self.train.max_skipped_in_a_row)),
            ("checkpoint.every_steps", self.checkpoint.every_steps),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                return Err(setting(key, &value, "must be at least 1"));
            }
        }
        self.data.transform.validate()?;
        self.mask.validate()?;
        self.model.transformer.validate()?;
        self.targets.rule().validate(self.model.transformer.depth)?;
        self.loss.validate()?;
        self.optimizer.validate()?;
        self.collapse
            .validate()
            .map_err(|bad| setting(&format!("collapse.{}", bad.key), &bad.value, bad.rule))?;
        self.model.encoder.validate()?;
        self.check_input()?;
        self.micro_batch()?;
        Ok(())
    }

    /// Length of the longest input: samples of sound, tokens; 1 for pictures.
    pub fn longest_input(&self) -> i64 {
        let DataConfig { path, audio, synthetic_audio, text, synthetic_text, .. } = &self.data;
        match &self.model.encoder {
            EncoderConfig::Image(_) => 1,
            EncoderConfig::Audio(encoder) => {
                let seconds = if path.is_some() { audio.max_seconds } else { synthetic_audio.max_seconds };
                (seconds * f64::from(encoder.sample_rate_hz)) as i64
            }
            EncoderConfig::Text(_) if path.is_some() => text.max_tokens as i64,
            EncoderConfig::Text(_) => synthetic_text.max_tokens as i64,
        }
    }

    /// Length of the run and both schedules in updates, at a pace.
    ///
    /// # Errors
    /// If a length or a schedule makes no sense.
    pub fn schedules_at(&self, pace: Pace) -> Result<Schedules> {
        let steps = self.train.length.to_steps("train.length", pace, None)?;
        let learning_rate = self.learning_rate.resolve(steps, pace)?;
        Ok(Schedules { steps, learning_rate, tau: self.teacher.tau.resolve(steps)? })
    }
}

/// The layout of the positions that masks are drawn on, for an input of this length.
pub fn positions(encoder: &EncoderConfig, length: i64) -> Positions {
    match encoder {
        EncoderConfig::Image(image) => {
            let side = image.side() as usize;
            Positions::Grid { height: side, width: side }
        }
        EncoderConfig::Audio(_) | EncoderConfig::Text(_) => {
            Positions::Line { len: encoder.positions(length) as usize }
        }
    }
}

pub(crate) fn setting(key: &str, value: &impl ToString, rule: &str) -> Error {
    Error::Config { key: key.into(), value: value.to_string(), rule: rule.into() }
}

/// Length and schedules in updates.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// Updates of the whole run.
    pub steps: u64,
    /// Learning rate by finished updates.
    pub learning_rate: LearningRate,
    /// The teacher's decay by number of the update.
    pub tau: Tau,
}

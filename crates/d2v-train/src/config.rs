//! The configuration of a run, as in the TOML files under `configs/`.

use crate::collapse::CollapseConfig;
use crate::network::ModelConfig;
use crate::optimizer::OptimizerConfig;
use crate::schedule::{LearningRate, LearningRateConfig, Length, Pace};
use crate::step::{Averaged, Objective};
use crate::{Error, Result};
use d2v_data::{OpenOptions, SyntheticConfig, Transform};
use d2v_ema::Tau;
use d2v_encoders::EncoderConfig;
use d2v_masking::{MaskConfig, Positions};
use d2v_targets::LossConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::Kind;

/// Everything a run depends on; saved with it as resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of start values, order, augmentation, masks and dropout.
    pub seed: u64,
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
}

impl Precision {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }

    /// The kind given to autocast.
    pub fn kind(self) -> Kind {
        match self {
            Precision::F32 | Precision::Tf32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}

/// Length, batches and log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Length of the run: `{ steps = N }`, `{ epochs = X }` or `{ samples = N }`.
    pub length: Length,
    /// Samples per micro-batch.
    pub batch_size: usize,
    /// Micro-batches per update.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// A line of metrics every so many updates; the loss in it is the mean since the one before.
    #[serde(default = "ten")]
    pub log_every_steps: u64,
    /// The run ends after so many updates in a row whose loss or gradient was not finite.
    #[serde(default = "ten_updates")]
    pub max_skipped_in_a_row: u32,
}

fn one() -> usize {
    1
}

fn ten() -> u64 {
    10
}

fn ten_updates() -> u32 {
    10
}

/// Where samples come from and what is done to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder, archive, pattern of shards or IDX files; absent: the built-in data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The built-in data set.
    #[serde(default)]
    pub synthetic: SyntheticConfig,
    /// Limits on what opening may cost.
    #[serde(default)]
    pub open: OpenOptions,
    /// Augmentation and normalisation.
    pub transform: Transform,
    /// Threads that decode and augment.
    #[serde(default = "one")]
    pub threads: usize,
    /// Batches made ahead.
    #[serde(default = "four")]
    pub queue: usize,
    /// Different samples that may be unreadable before the run ends.
    #[serde(default = "hundred")]
    pub unreadable_limit: usize,
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
            ("train.batch_size", self.train.batch_size as u64),
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
        let EncoderConfig::Image(image) = &self.model.encoder;
        image.validate()?;
        let Transform::Image(transform) = &self.data.transform else {
            return Err(setting(
                "data.transform.modality",
                &"another",
                "must be that of model.encoder: image",
            ));
        };
        if i64::from(transform.size_px()) != image.image_size {
            let rule = format!("must equal model.encoder.image_size = {}", image.image_size);
            return Err(setting("data.transform.geometry.size_px", &transform.size_px(), &rule));
        }
        Ok(())
    }

    /// The layout of the positions that masks are drawn on.
    pub fn positions(&self) -> Positions {
        match &self.model.encoder {
            EncoderConfig::Image(image) => {
                let side = image.side() as usize;
                Positions::Grid { height: side, width: side }
            }
        }
    }

    /// Samples per update.
    pub fn samples_per_update(&self) -> u64 {
        (self.train.batch_size * self.train.accumulate) as u64
    }

    /// Length of the run and both schedules in updates, for a data set of `samples` samples.
    ///
    /// # Errors
    /// If a length or a schedule makes no sense.
    pub fn schedules(&self, samples: u64) -> Result<Schedules> {
        let pace = Pace::new(self.samples_per_update(), samples)?;
        let steps = self.train.length.to_steps("train.length", pace, None)?;
        let learning_rate = self.learning_rate.resolve(steps, pace)?;
        Ok(Schedules { steps, learning_rate, tau: self.teacher.tau.resolve(steps)? })
    }
}

fn setting(key: &str, value: &impl ToString, rule: &str) -> Error {
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

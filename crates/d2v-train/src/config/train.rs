//! The section `[train]`: length, batches and log.

use super::{RunConfig, Schedules, setting};
use crate::Result;
use crate::schedule::{Length, Pace};
use d2v_data::{BatchSize, Dataset, batches_per_epoch};
use d2v_encoders::EncoderConfig;
use serde::{Deserialize, Serialize};

/// Length, batches and log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Length of the run: `{ steps = N }`, `{ epochs = X }` or `{ samples = N }`.
    pub length: Length,
    /// Samples per micro-batch; or one of the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Seconds of sound per micro-batch: as many of neighbouring lengths as fit, all counted as long as the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_seconds: Option<f64>,
    /// Tokens per micro-batch, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Micro-batches per update.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Make the inside of the student's blocks again in the backward pass instead of keeping it (activation
    /// checkpointing): a quarter more arithmetic a step, far less memory, the same bits.
    #[serde(default)]
    pub recompute_blocks: bool,
    /// A line of metrics every so many updates; the loss in it is the mean since the one before.
    #[serde(default = "ten")]
    pub log_every_steps: u64,
    /// The run ends after so many updates in a row whose loss or gradient was not finite.
    #[serde(default = "ten_updates")]
    pub max_skipped_in_a_row: u32,
    /// Probe the student beside its random start once the run is done, on a few thousand samples, if the data has labels.
    #[serde(default = "yes")]
    pub probe_at_end: bool,
}

fn yes() -> bool {
    true
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

impl RunConfig {
    /// What a micro-batch holds.
    ///
    /// # Errors
    /// Unless one of the three ways to say it is given, suits the modality and is at least 1.
    pub fn batch(&self) -> Result<BatchSize> {
        let TrainConfig { batch_size, batch_seconds, batch_tokens, .. } = self.train;
        let one = "give one of train.batch_size, train.batch_seconds (sound) and train.batch_tokens (text)";
        let size = match (batch_size, batch_seconds, batch_tokens, &self.model.encoder) {
            (Some(size), None, None, _) => BatchSize::Samples(size),
            (None, Some(seconds), None, EncoderConfig::Audio(audio)) => {
                let samples = seconds * f64::from(audio.sample_rate_hz);
                if !(1.0..9e15).contains(&samples) {
                    return Err(setting("train.batch_seconds", &seconds, "must be above 0"));
                }
                BatchSize::TotalLength(samples as usize)
            }
            (None, None, Some(tokens), EncoderConfig::Text(_)) => BatchSize::TotalLength(tokens),
            (None, None, None, _) => return Err(setting("train.batch_size", &"missing", one)),
            (_, Some(seconds), _, _) => return Err(setting("train.batch_seconds", &seconds, one)),
            (_, _, Some(tokens), _) => return Err(setting("train.batch_tokens", &tokens, one)),
        };
        match size {
            BatchSize::Samples(0) => Err(setting("train.batch_size", &0, "must be at least 1")),
            BatchSize::TotalLength(0) => Err(setting("train.batch_tokens", &0, "must be at least 1")),
            size => Ok(size),
        }
    }

    /// Samples of a micro-batch where all are as long as may be.
    pub fn samples_per_batch(&self) -> u64 {
        match self.batch() {
            Ok(BatchSize::Samples(size)) => size as u64,
            Ok(BatchSize::TotalLength(total)) => (total as u64 / self.longest_input().max(1) as u64).max(1),
            Err(_) => 0,
        }
    }

    /// Length of the run and both schedules in updates, on this data.
    ///
    /// # Errors
    /// If a length or a schedule makes no sense, or the data is too little for a batch.
    pub fn schedules(&self, data: &dyn Dataset) -> Result<Schedules> {
        let accumulate = self.train.accumulate as u64;
        let pace = match self.batch()? {
            BatchSize::Samples(size) => Pace::new(size as u64 * accumulate, data.len() as u64)?,
            size => Pace::of_batches(batches_per_epoch(data, size, true)?, accumulate, data.len() as u64)?,
        };
        self.schedules_at(pace)
    }
}

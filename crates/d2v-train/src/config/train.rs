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
    /// Samples per update; or one of the two below. A multiple of `accumulate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Seconds of sound per update. A micro-batch has its share of them: as many sounds of neighbouring lengths as fit,
    /// all counted as long as the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_seconds: Option<f64>,
    /// Tokens per update, shared out in the same way. A multiple of `accumulate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// How many micro-batches an update's batch is split into, at least 1: more of them take less memory.
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
    /// What a micro-batch holds: the update's batch, divided by `train.accumulate`.
    ///
    /// # Errors
    /// Unless one of the three ways to give the batch is there, suits the modality, and is a positive multiple of
    /// `train.accumulate`.
    pub fn micro_batch(&self) -> Result<BatchSize> {
        let TrainConfig { batch_size, batch_seconds, batch_tokens, accumulate, .. } = self.train;
        let one = "give one of train.batch_size, train.batch_seconds (sound) and train.batch_tokens (text)";
        match (batch_size, batch_seconds, batch_tokens, &self.model.encoder) {
            (Some(size), None, None, _) => {
                Ok(BatchSize::Samples(share("train.batch_size", size, accumulate)?))
            }
            (None, Some(seconds), None, EncoderConfig::Audio(audio)) => {
                let samples = seconds * f64::from(audio.sample_rate_hz) / accumulate as f64;
                if !(1.0..9e15).contains(&samples) {
                    let rule =
                        "must be above 0, with a sample at least in each of train.accumulate micro-batches";
                    return Err(setting("train.batch_seconds", &seconds, rule));
                }
                Ok(BatchSize::TotalLength(samples as usize))
            }
            (None, None, Some(tokens), EncoderConfig::Text(_)) => {
                Ok(BatchSize::TotalLength(share("train.batch_tokens", tokens, accumulate)?))
            }
            (None, None, None, _) => Err(setting("train.batch_size", &"missing", one)),
            (_, Some(seconds), _, _) => Err(setting("train.batch_seconds", &seconds, one)),
            (_, _, Some(tokens), _) => Err(setting("train.batch_tokens", &tokens, one)),
        }
    }

    /// Samples of a micro-batch where all are as long as may be.
    pub fn samples_per_micro_batch(&self) -> u64 {
        match self.micro_batch() {
            Ok(BatchSize::Samples(size)) => size as u64,
            Ok(BatchSize::TotalLength(total)) => (total as u64 / self.longest_input().max(1) as u64).max(1),
            Err(_) => 0,
        }
    }

    /// Samples of an update where all are as long as may be.
    pub fn samples_per_update(&self) -> u64 {
        self.samples_per_micro_batch() * self.train.accumulate as u64
    }

    /// Length of the run and both schedules in updates, on this data.
    ///
    /// # Errors
    /// If a length or a schedule makes no sense, or the data is too little for a batch.
    pub fn schedules(&self, data: &dyn Dataset) -> Result<Schedules> {
        let accumulate = self.train.accumulate as u64;
        let pace = match self.micro_batch()? {
            BatchSize::Samples(size) => Pace::new(size as u64 * accumulate, data.len() as u64)?,
            size => Pace::of_batches(batches_per_epoch(data, size, true)?, accumulate, data.len() as u64)?,
        };
        self.schedules_at(pace)
    }
}

/// The part of an update's batch that one of its micro-batches has.
fn share(key: &str, batch: usize, micro_batches: usize) -> Result<usize> {
    match batch.checked_rem(micro_batches) {
        _ if batch == 0 => Err(setting(key, &batch, "must be at least 1")),
        Some(0) => Ok(batch / micro_batches),
        _ => {
            let rule = format!(
                "is the batch of an update and must be a multiple of train.accumulate = {micro_batches}, the number of \
                 micro-batches that it is split into; change one of the two"
            );
            Err(setting(key, &batch, &rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;

    fn config(modality: &str, settings: &[&str]) -> RunConfig {
        let overrides = settings.iter().map(|setting| setting.parse().unwrap()).collect();
        RecipeArgs { overrides, ..RecipeArgs::default() }.load_for(modality).unwrap()
    }

    fn by_tokens(tokens: usize, accumulate: usize) -> RunConfig {
        let mut config = config("text", &[]);
        config.train =
            TrainConfig { batch_size: None, batch_tokens: Some(tokens), accumulate, ..config.train };
        config
    }

    #[test]
    fn micro_batches_share_the_batch_of_an_update() {
        let pictures = config("image", &["train.batch_size=24", "train.accumulate=3"]);
        assert_eq!(pictures.micro_batch().unwrap(), BatchSize::Samples(8));
        assert_eq!((pictures.samples_per_micro_batch(), pictures.samples_per_update()), (8, 24));
        // Two seconds and a half of 16 kHz at most.
        let sounds = config("audio", &["train.batch_seconds=20", "train.accumulate=2"]);
        assert_eq!(sounds.micro_batch().unwrap(), BatchSize::TotalLength(160_000));
        assert_eq!((sounds.samples_per_micro_batch(), sounds.samples_per_update()), (4, 8));
        assert_eq!(by_tokens(1024, 4).micro_batch().unwrap(), BatchSize::TotalLength(256));
    }

    #[test]
    fn a_batch_that_cannot_be_shared_out_is_refused() {
        let check = |config: RunConfig, parts: &[&str]| {
            let error = config.validate().unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        let split = |accumulate| {
            config("image", &["train.batch_size=128", &format!("train.accumulate={accumulate}")])
        };
        check(split(48), &["train.batch_size = 128", "a multiple of train.accumulate = 48", "change one"]);
        check(split(256), &["train.batch_size = 128", "train.accumulate = 256"]);
        check(split(0), &["train.accumulate = 0", "at least 1"]);
        check(by_tokens(1000, 3), &["train.batch_tokens = 1000", "a multiple of train.accumulate = 3"]);
        check(by_tokens(0, 3), &["train.batch_tokens = 0", "at least 1"]);
        check(config("audio", &["train.batch_seconds=0"]), &["train.batch_seconds = 0", "above 0"]);
    }
}

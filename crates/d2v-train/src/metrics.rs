//! What is recorded of each step, and `metrics.jsonl`, where it is recorded.
//!
//! One JSON object per line, one line per update. JSON has no NaN and no infinity: both are written as `null`, which is
//! read back as NaN. Columns measured only now and then ([`StepMetrics::effective_rank`] and the like) are `null` or
//! absent on the other lines, and read back as `None`.

use std::path::Path;

use d2v_targets::statistics::StageStatistics;
use serde::{Deserialize, Serialize};

use crate::collapse::{Stage, Verdict};
use crate::json_lines::{self, JsonLines};
use crate::output_error::OutputError;

/// The file's name within a run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The columns that depend on the machine's speed. All others are the same whenever the same run is repeated on the same
/// machine, interrupted or not.
pub const TIMING_COLUMNS: [&str; 5] =
    ["samples_per_second", "data_wait", "seconds", "tflops", "share_of_ceiling"];

/// The record of one update.
///
/// "Standard deviation" of targets or predictions is the reference's measure: over the hidden positions of the batch,
/// the root of each feature's unbiased variance plus 1e-6, averaged over the features (specification 5.1).
/// `Default` serves to leave out the optional columns; the others need their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Finished updates, this one included; from 1.
    pub step: u64,
    /// Full passes over the data before this update's last sample; from 0.
    pub epoch: u64,
    /// Samples seen since the start of the run.
    pub samples: u64,
    /// Loss per hidden position, as minimised.
    #[serde(with = "nan_as_null")]
    pub loss: f64,
    /// Learning rate of this update.
    #[serde(with = "nan_as_null")]
    pub lr: f64,
    /// Share of the old teacher kept by this update's moving average, 0 to 1.
    #[serde(with = "nan_as_null")]
    pub tau: f64,
    /// Global L2 norm of the gradient before clipping.
    #[serde(with = "nan_as_null")]
    pub grad_norm: f64,
    /// Standard deviation of the targets over hidden positions; absent where fewer than two were hidden.
    pub target_std: Option<f64>,
    /// Standard deviation of the predictions over hidden positions; absent where fewer than two were hidden.
    pub prediction_std: Option<f64>,
    /// Effective rank of the targets: the exponential of the entropy of their covariance's eigenvalues; 1 to their width.
    pub effective_rank: Option<f64>,
    /// Share of the targets' variance that the position alone explains, 0 to 1.
    pub position_share: Option<f64>,
    /// 1 - (mean squared error / variance of the targets): 0 when the predictions are no better than the mean.
    pub r2: Option<f64>,
    /// Share of the positions hidden from the student, 0 to 1.
    #[serde(with = "nan_as_null")]
    pub masked_fraction: f64,
    /// Samples per second of this update, waiting for data included.
    #[serde(with = "nan_as_null")]
    pub samples_per_second: f64,
    /// Share of this update's time spent waiting for data, 0 to 1.
    #[serde(with = "nan_as_null")]
    pub data_wait: f64,
    /// Seconds spent in the run so far, summed over its sessions.
    #[serde(with = "nan_as_null")]
    pub seconds: f64,
    /// Arithmetic done per second, 10^12 floating-point operations (a multiply-add counts two).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tflops: Option<f64>,
    /// `tflops` over what large matrix products reach on this machine, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of_ceiling: Option<f64>,
    /// What the collapse watch said, when it looked at this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Standard deviation of the targets before normalisation, within samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_target_std: Option<f64>,
    /// Mean cosine between targets of the same sample, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_cosine: Option<f64>,
    /// Mean cosine between the samples' mean targets, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_cosine: Option<f64>,
    /// Mean cosine between targets of neighbouring positions, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjacent_cosine: Option<f64>,
    /// Norm of the difference between student and teacher weights over the norm of the student's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student_teacher_distance: Option<f64>,
    /// Loss over the loss of predicting zero everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_over_predict_zero: Option<f64>,
    /// Updates skipped since the start of the run because loss or gradient was not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_updates: Option<u64>,
    /// What the watch measured inside the network, in the order the data passes through it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageMetrics>,
}

/// The spread of the features at one place in the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageMetrics {
    /// Which place.
    pub stage: Stage,
    /// Standard deviation within samples, in the features' own units.
    #[serde(with = "nan_as_null")]
    pub raw_std: f64,
    /// Effective rank of the features.
    #[serde(with = "nan_as_null")]
    pub effective_rank: f64,
    /// Mean cosine between positions of a sample, -1 to 1; of what is only there at hidden positions, between all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_cosine: Option<f64>,
    /// Mean cosine between the samples' means, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_cosine: Option<f64>,
    /// Share of the variance that the position alone explains, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_share: Option<f64>,
}

impl StageMetrics {
    /// What is recorded of a stage's statistics.
    pub fn new(stage: Stage, statistics: &StageStatistics) -> Self {
        let &StageStatistics { raw_std, effective_rank, token_cosine, sample_cosine, position_share } =
            statistics;
        Self { stage, raw_std, effective_rank, token_cosine, sample_cosine, position_share }
    }
}

impl StepMetrics {
    /// Everything that can be drawn as a curve over steps, as (tag, value); columns not measured at this step are left
    /// out, values that are not finite are in.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let always = [
            ("train/loss", self.loss),
            ("train/grad_norm", self.grad_norm),
            ("train/epoch", self.epoch as f64),
            ("train/masked_fraction", self.masked_fraction),
            ("schedule/lr", self.lr),
            ("schedule/tau", self.tau),
            ("speed/samples_per_second", self.samples_per_second),
            ("speed/data_wait", self.data_wait),
        ];
        let sometimes = [
            ("collapse/target_std", self.target_std),
            ("collapse/prediction_std", self.prediction_std),
            ("collapse/effective_rank", self.effective_rank),
            ("collapse/position_share", self.position_share),
            ("collapse/r2", self.r2),
            ("collapse/raw_target_std", self.raw_target_std),
            ("collapse/token_cosine", self.token_cosine),
            ("collapse/sample_cosine", self.sample_cosine),
            ("collapse/adjacent_cosine", self.adjacent_cosine),
            ("collapse/student_teacher_distance", self.student_teacher_distance),
            ("collapse/loss_over_predict_zero", self.loss_over_predict_zero),
            ("train/skipped_updates", self.skipped_updates.map(|count| count as f64)),
            ("speed/tflops", self.tflops),
            ("speed/share_of_ceiling", self.share_of_ceiling),
        ];
        let stages = self.stages.iter().flat_map(|measured| {
            let named = [
                ("raw_std", Some(measured.raw_std)),
                ("effective_rank", Some(measured.effective_rank)),
                ("token_cosine", measured.token_cosine),
                ("sample_cosine", measured.sample_cosine),
                ("position_share", measured.position_share),
            ];
            let stage = measured.stage;
            named.into_iter().filter_map(move |(what, value)| Some((format!("stage_{what}/{stage}"), value?)))
        });
        always
            .into_iter()
            .chain(sometimes.into_iter().filter_map(|(tag, value)| Some((tag, value?))))
            .map(|(tag, value)| (tag.to_owned(), value))
            .chain(stages)
            .collect()
    }
}

/// `metrics.jsonl`, open for appending.
#[derive(Debug)]
pub struct MetricsLog(JsonLines);

impl MetricsLog {
    /// Opens the log of the run in folder `run`, which is about to go on after `finished_steps` updates (0 for a fresh
    /// run): what an interrupted session recorded beyond them is removed, since those steps will be made again. So an
    /// interrupted run leaves the same file as an uninterrupted one, but for the [`TIMING_COLUMNS`].
    ///
    /// # Errors
    /// When the file cannot be read or written, is damaged other than at its end, or its steps go back.
    pub fn open(run: &Path, finished_steps: u64) -> Result<Self, OutputError> {
        // Only the step is looked at, so a file from a version with other columns can be gone on with.
        #[derive(Deserialize)]
        struct Line {
            step: u64,
        }
        let (lines, _) = JsonLines::open(&run.join(METRICS_FILE), |line: &Line| line.step <= finished_steps)?;
        Ok(Self(lines))
    }

    /// Appends one line; a kill of the process afterwards does not lose it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, metrics: &StepMetrics) -> Result<(), OutputError> {
        self.0.append(metrics)
    }

    /// Forces all lines to the disk: to be called before a checkpoint is put in place, so that the lines of the steps it
    /// holds outlive a loss of power.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), OutputError> {
        self.0.sync()
    }
}

/// Reads the metrics of the run in folder `run`; none when nothing was recorded. A torn last line is ignored.
///
/// # Errors
/// When the file cannot be read, or is damaged other than at its end.
pub fn read_metrics(run: &Path) -> Result<Vec<StepMetrics>, OutputError> {
    json_lines::read(&run.join(METRICS_FILE))
}

/// Numbers that may be NaN or infinite: `null` in JSON, NaN when read back.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(step: u64) -> StepMetrics {
        StepMetrics { step, samples: step * 64, loss: 1.0 / step as f64, seconds: 0.1, ..Default::default() }
    }

    fn append_all(run: &Path, finished_steps: u64, steps: impl IntoIterator<Item = u64>) {
        let mut log = MetricsLog::open(run, finished_steps).unwrap();
        for number in steps {
            log.append(&step(number)).unwrap();
        }
    }

    #[test]
    fn a_line_has_the_columns_that_other_tools_rely_on() {
        let line = serde_json::to_value(step(1)).unwrap();
        for column in [
            "step",
            "epoch",
            "samples",
            "loss",
            "lr",
            "tau",
            "grad_norm",
            "target_std",
            "prediction_std",
            "effective_rank",
            "position_share",
            "r2",
            "masked_fraction",
            "samples_per_second",
            "data_wait",
            "seconds",
        ] {
            assert!(line.get(column).is_some(), "{column} is missing");
        }
        assert!(line.get("tflops").is_none(), "an optional column that was not measured is left out");
    }

    #[test]
    fn what_is_not_finite_becomes_null_and_nan() {
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let line = serde_json::to_string(&StepMetrics { loss, ..step(1) }).unwrap();
            assert!(line.contains("\"loss\":null"), "{line}");
            let back: StepMetrics = serde_json::from_str(&line).unwrap();
            assert!(back.loss.is_nan());
        }
    }

    #[test]
    fn a_column_that_is_missing_is_an_error_not_a_nan() {
        let mut line = serde_json::to_value(step(1)).unwrap();
        line.as_object_mut().unwrap().remove("loss");
        assert!(serde_json::from_value::<StepMetrics>(line).is_err());
    }

    #[test]
    fn an_interrupted_log_equals_an_uninterrupted_one() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        append_all(whole.path(), 0, 1..=10);
        append_all(cut.path(), 0, 1..=7);
        // The session dies in the middle of a line; its last checkpoint was of step 4.
        let path = cut.path().join(METRICS_FILE);
        let torn = std::fs::read_to_string(&path).unwrap() + "{\"step\":8,\"los";
        std::fs::write(&path, torn).unwrap();
        append_all(cut.path(), 4, 5..=10);
        let read = |run: &Path| std::fs::read_to_string(run.join(METRICS_FILE)).unwrap();
        assert_eq!(read(cut.path()), read(whole.path()));
        assert_eq!(read_metrics(cut.path()).unwrap(), (1..=10).map(step).collect::<Vec<_>>());
    }

    #[test]
    fn scalars_leave_out_what_was_not_measured() {
        let statistics = StageStatistics {
            raw_std: 0.5,
            effective_rank: 9.0,
            token_cosine: Some(0.1),
            sample_cosine: None,
            position_share: Some(0.3),
        };
        let stages = vec![StageMetrics::new(Stage::Block(1), &statistics)];
        let metrics = StepMetrics { r2: Some(0.4), loss: f64::NAN, stages, ..step(3) };
        let scalars: std::collections::HashMap<_, _> = metrics.scalars().into_iter().collect();
        assert!(scalars["train/loss"].is_nan());
        assert_eq!(scalars["collapse/r2"], 0.4);
        assert_eq!(scalars["stage_effective_rank/block_1"], 9.0);
        assert_eq!(scalars["stage_position_share/block_1"], 0.3);
        assert!(!scalars.contains_key("stage_sample_cosine/block_1"), "one sample");
        let line = serde_json::to_value(&metrics).unwrap();
        assert_eq!(line["stages"][0]["token_cosine"], 0.1);
        assert!(line["stages"][0].get("sample_cosine").is_none(), "{line}");
        assert!(!scalars.contains_key("collapse/position_share"));
    }

    proptest! {
        #[test]
        fn finite_numbers_survive_bit_for_bit(loss in any::<f64>(), r2 in proptest::option::of(-1e9..1e9)) {
            prop_assume!(loss.is_finite());
            let metrics = StepMetrics { loss, r2, ..step(1) };
            let back: StepMetrics = serde_json::from_str(&serde_json::to_string(&metrics).unwrap()).unwrap();
            prop_assert_eq!(back.loss.to_bits(), loss.to_bits());
            prop_assert_eq!(back, metrics);
        }
    }
}

//! What a line of the log is filled from: the time since the line before it, the masks, the watch.

use crate::batches::HostBatch;
use crate::collapse::{Stage, Verdict};
use crate::config::RunConfig;
use crate::flops::StepFlops;
use crate::metrics::{StageMetrics, StepMetrics};
use crate::observe::Watched;
use std::time::{Duration, Instant};

/// Time of this session, and since the last line of the log.
pub(crate) struct Clock {
    started: Instant,
    seconds_before: f64,
    line_started: Instant,
    /// Samples since the last line.
    pub(crate) line_samples: u64,
    /// Operations since the last line.
    pub(crate) line_flops: u64,
}

impl Clock {
    /// Starts after so many seconds of earlier sessions.
    pub(crate) fn start(seconds_before: f64) -> Clock {
        let now = Instant::now();
        Clock { started: now, seconds_before, line_started: now, line_samples: 0, line_flops: 0 }
    }

    /// Seconds spent in the run, over all sessions.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Fills in the columns that depend on the machine, over the updates since the last line.
    pub(crate) fn line(&mut self, line: &mut StepMetrics, waited: Duration, ceiling_tflops: f64) {
        let elapsed = self.line_started.elapsed().as_secs_f64().max(1e-9);
        let tflops = self.line_flops as f64 / elapsed / 1e12;
        line.samples_per_second = self.line_samples as f64 / elapsed;
        line.data_wait = (waited.as_secs_f64() / elapsed).min(1.0);
        line.seconds = self.seconds();
        line.tflops = Some(tflops);
        line.share_of_ceiling = Some(tflops / ceiling_tflops);
        self.line_started = Instant::now();
        self.line_samples = 0;
        self.line_flops = 0;
    }
}

/// Operations on one micro-batch.
pub(crate) fn step_flops(config: &RunConfig, host: &HostBatch) -> u64 {
    let hidden = host.hiding.mask.total_hidden() as u64;
    let length = host.batch.inputs.row_length() as i64;
    StepFlops::of(config, host.batch.len() as u64, length, hidden).total()
}

/// The share of the real positions that is hidden.
pub(crate) fn masked_fraction(host: &[HostBatch]) -> f64 {
    let real = |one: &HostBatch| match &one.hiding.padding {
        Some(padding) => padding.lengths().iter().sum(),
        None => one.hiding.mask.rows() * one.hiding.mask.len(),
    };
    let positions: usize = host.iter().map(real).sum();
    let hidden: usize = host.iter().map(|one| one.hiding.mask.total_hidden()).sum();
    hidden as f64 / positions.max(1) as f64
}

/// Fills in the columns of the watch.
pub(crate) fn describe_watched(line: &mut StepMetrics, watched: &Watched, verdict: Option<&Verdict>) {
    let seen = &watched.observation;
    line.effective_rank = Some(seen.effective_rank);
    line.position_share = seen.position_share;
    line.adjacent_cosine = seen.adjacent_cosine;
    line.token_cosine = watched.token_cosine;
    line.sample_cosine = watched.sample_cosine;
    line.student_teacher_distance = Some(seen.relative_distance);
    line.loss_over_predict_zero = Some(seen.predict_zero_ratio);
    line.raw_target_std = seen.stages.get(&Stage::Teacher).map(|stage| stage.raw_std);
    line.stages =
        seen.stages.iter().map(|(stage, statistics)| StageMetrics::new(*stage, statistics)).collect();
    line.verdict = verdict.cloned();
}

//! The watch: observations in, verdicts out, and the little that it must remember in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alarm::{self, Alarm, Severity};
use super::clue;
use super::config::CollapseConfig;
use super::observation::{Observation, Stage};
use super::verdict::{RunState, Verdict};

/// Weight of the newest gradient norm in the running mean of its logarithm.
const NEWEST_GRADIENT_WEIGHT: f64 = 0.1;

/// What a stage was like when it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageStart {
    pub(super) raw_std: f64,
    pub(super) effective_rank: f64,
}

/// A gradient norm far above the usual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GradientBurst {
    /// When.
    pub(super) step: u64,
    /// How many times the usual norm.
    pub(super) ratio: f64,
}

/// What a [`CollapseWatch`] remembers. Put it into the checkpoint; its numbers are all finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchState {
    /// The targets' effective rank when first seen.
    pub(super) start_effective_rank: Option<f64>,
    /// The cosine of neighbouring targets when first seen.
    pub(super) start_adjacent_cosine: Option<f64>,
    /// Each stage when first seen.
    pub(super) start_stages: BTreeMap<Stage, StageStart>,
    /// The lowest loss so far.
    pub(super) lowest_loss: Option<f64>,
    /// The highest learning rate so far.
    pub(super) highest_lr: f64,
    /// Running mean of the natural logarithm of the gradient norm.
    pub(super) usual_ln_grad_norm: Option<f64>,
    /// The latest burst of the gradient norm.
    pub(super) last_burst: Option<GradientBurst>,
    /// Observations in a row with a low R2, after its grace.
    pub(super) low_r2_observations: u32,
    /// Observations in a row with an alarm that makes a collapse if it persists.
    pub(super) alarming_observations: u32,
}

/// Judges a run by its observations.
///
/// ```
/// use d2v_train::collapse::{CollapseConfig, CollapseWatch};
///
/// let watch = CollapseWatch::new(CollapseConfig::default());
/// let saved = serde_json::to_string(watch.state())?;
/// let resumed = CollapseWatch::resume(CollapseConfig::default(), serde_json::from_str(&saved)?);
/// assert_eq!(resumed.state(), watch.state());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CollapseWatch {
    config: CollapseConfig,
    state: WatchState,
}

impl CollapseWatch {
    /// A watch over a run that starts. The first observation is what later ones are compared with, so make it before
    /// the first update.
    pub fn new(config: CollapseConfig) -> Self {
        Self::resume(config, WatchState::default())
    }

    /// A watch over a run that goes on from a checkpoint.
    pub fn resume(config: CollapseConfig, state: WatchState) -> Self {
        Self { config, state }
    }

    /// What to save.
    pub fn state(&self) -> &WatchState {
        &self.state
    }

    /// Whether `step` is one to be observed.
    pub fn is_due(&self, step: u64) -> bool {
        self.config.enabled && step.is_multiple_of(self.config.every_steps)
    }

    /// Whether this verdict ends the run.
    pub fn stops(&self, verdict: &Verdict) -> bool {
        self.config.stop && verdict.state == RunState::Collapsed
    }

    /// Judges one observation. Observations come in the order of their steps, each once.
    pub fn observe(&mut self, seen: &Observation) -> Verdict {
        if !self.config.enabled {
            return Verdict::healthy(seen.step);
        }
        self.remember(seen);
        let alarms = alarm::raise(&self.config, &self.state, seen);
        let Some(worst) = alarms.iter().map(Alarm::severity).max() else {
            self.state.alarming_observations = 0;
            return Verdict::healthy(seen.step);
        };
        self.state.alarming_observations = if worst == Severity::Suspicious {
            0
        } else {
            self.state.alarming_observations.saturating_add(1)
        };
        let persists = self.state.alarming_observations >= self.config.patience_observations;
        let collapsed = worst == Severity::Final || persists;
        let state = if collapsed { RunState::Collapsed } else { RunState::Suspicious };
        Verdict::alarming(seen.step, state, &alarms, &clue::gather(&self.config, &self.state, seen))
    }

    /// Takes in what later observations are compared with; values that are not finite are no measure of anything.
    fn remember(&mut self, seen: &Observation) {
        let finite = |value: f64| value.is_finite().then_some(value);
        let state = &mut self.state;
        state.start_effective_rank = state.start_effective_rank.or(finite(seen.effective_rank));
        state.start_adjacent_cosine = state.start_adjacent_cosine.or(seen.adjacent_cosine.and_then(finite));
        for (&stage, now) in &seen.stages {
            if now.raw_std.is_finite() && now.effective_rank.is_finite() {
                let start = StageStart { raw_std: now.raw_std, effective_rank: now.effective_rank };
                state.start_stages.entry(stage).or_insert(start);
            }
        }
        if let Some(loss) = finite(seen.loss) {
            state.lowest_loss = Some(state.lowest_loss.map_or(loss, |lowest| lowest.min(loss)));
        }
        state.highest_lr = finite(seen.lr).map_or(state.highest_lr, |lr| state.highest_lr.max(lr));
        if seen.grad_norm > 0.0 && seen.grad_norm.is_finite() {
            self.remember_gradient(seen.step, seen.grad_norm.ln());
        }
        let low_r2 = seen.step >= self.config.r2_grace_steps && seen.r2 < alarm::r2_floor(&self.config, seen);
        self.state.low_r2_observations =
            if low_r2 { self.state.low_r2_observations.saturating_add(1) } else { 0 };
    }

    /// The usual norm is a mean of logarithms, which a single burst hardly moves.
    fn remember_gradient(&mut self, step: u64, ln_norm: f64) {
        let usual = self.state.usual_ln_grad_norm.unwrap_or(ln_norm);
        let ratio = (ln_norm - usual).exp();
        if ratio >= self.config.gradient_burst && ratio.is_finite() {
            self.state.last_burst = Some(GradientBurst { step, ratio });
        }
        self.state.usual_ln_grad_norm = Some(usual + NEWEST_GRADIENT_WEIGHT * (ln_norm - usual));
    }
}

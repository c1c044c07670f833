//! Runs written down as a few points per statistic, with straight lines in between.

use std::collections::BTreeMap;

use d2v_targets::statistics::StageStatistics;
use d2v_train::collapse::{CollapseConfig, CollapseWatch, Observation, Stage, Verdict};

/// Values of one statistic at some steps, in the order of the steps.
pub(crate) type Points = &'static [(u64, f64)];

/// A run. What a record does not say stays at the healthy value of [`Recorded::HEALTHY`].
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) lr: f64,
    pub(crate) warmup_fraction: f64,
    pub(crate) tau: f64,
    pub(crate) last_step: u64,
    pub(crate) rank_limit: f64,
    pub(crate) loss: Points,
    pub(crate) r2: Points,
    pub(crate) position_share: Points,
    pub(crate) effective_rank: Points,
    pub(crate) target_std: Points,
    pub(crate) prediction_std: Points,
    pub(crate) adjacent_cosine: Points,
    pub(crate) grad_norm: Points,
    pub(crate) relative_distance: Points,
    pub(crate) block_std: Points,
    pub(crate) block_rank: Points,
    pub(crate) front_end_rank: Points,
}

impl Recorded {
    /// The Fashion-MNIST recipe that worked: 700 steps, width 128, learning rate 1e-3, tau from 0.998.
    pub(crate) const HEALTHY: Self = Self {
        lr: 1e-3,
        warmup_fraction: 0.1,
        tau: 0.998,
        last_step: 699,
        rank_limit: 128.0,
        loss: &[(0, 1.306), (100, 0.851), (200, 0.537), (400, 0.404), (699, 0.354)],
        r2: &[(0, -0.31), (100, 0.42), (200, 0.52), (400, 0.57), (699, 0.62)],
        position_share: &[(0, 0.36), (100, 0.41), (200, 0.44), (400, 0.48), (699, 0.56)],
        effective_rank: &[(0, 15.8), (100, 8.9), (200, 6.9), (400, 7.4), (699, 7.6)],
        target_std: &[(0, 0.6)],
        prediction_std: &[(0, 0.39), (100, 0.60), (200, 0.69), (400, 0.75), (699, 0.77)],
        adjacent_cosine: &[(0, 0.6)],
        grad_norm: &[(0, 2.0), (100, 1.0)],
        relative_distance: &[(0, 0.0), (20, 0.01), (100, 0.1)],
        block_std: &[(0, 1.0), (699, 2.0)],
        block_rank: &[(0, 12.0)],
        front_end_rank: &[(0, 12.0)],
    };

    /// What the watch is told at `step`.
    pub(crate) fn at(&self, step: u64) -> Observation {
        let stage = |raw_std, effective_rank| StageStatistics {
            raw_std,
            effective_rank,
            token_cosine: Some(0.3),
            sample_cosine: Some(0.3),
            position_share: Some(0.3),
        };
        Observation {
            step,
            lr: self.lr,
            warmup_fraction: self.warmup_fraction,
            tau: self.tau,
            loss: between(self.loss, step),
            predict_zero_ratio: 0.5,
            grad_norm: between(self.grad_norm, step),
            target_std: between(self.target_std, step),
            prediction_std: between(self.prediction_std, step),
            effective_rank: between(self.effective_rank, step),
            rank_limit: self.rank_limit,
            position_share: Some(between(self.position_share, step)),
            r2: between(self.r2, step),
            adjacent_cosine: Some(between(self.adjacent_cosine, step)),
            relative_distance: between(self.relative_distance, step),
            stages: BTreeMap::from([
                (Stage::FrontEnd, stage(0.4, between(self.front_end_rank, step))),
                (Stage::Block(3), stage(between(self.block_std, step), between(self.block_rank, step))),
                (Stage::Teacher, stage(0.5, between(self.effective_rank, step))),
                (Stage::Prediction, stage(0.5, 10.0)),
            ]),
        }
    }

    /// Every tenth step, and the last.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let last = (!self.last_step.is_multiple_of(10)).then_some(self.last_step);
        (0..=self.last_step).step_by(10).chain(last).map(|step| self.at(step)).collect()
    }

    /// What the watch says with its defaults.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let mut watch = CollapseWatch::new(CollapseConfig::default());
        self.observations().iter().map(|seen| watch.observe(seen)).collect()
    }
}

/// The value on the line through the points around `step`; constant before the first and after the last.
fn between(points: Points, step: u64) -> f64 {
    let after = points.partition_point(|&(s, _)| s <= step);
    let Some(&(s0, v0)) = after.checked_sub(1).and_then(|i| points.get(i)) else { return points[0].1 };
    let Some(&(s1, v1)) = points.get(after) else { return v0 };
    v0 + (v1 - v0) * (step - s0) as f64 / (s1 - s0) as f64
}

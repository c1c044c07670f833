//! Our samplers against measured statistics of the reference's, and against figures computed from their definitions.
//!
//! Every bound is five standard errors, ours and the other side's added in quadrature. Keys are fixed, so a test that passes
//! once passes always.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod figures;
mod independence;
mod reference;

use d2v_masking::{Mask, MaskConfig, MaskKey, Positions};
use serde_json::Value;

/// A mean or a rate with its standard error.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    se: f64,
}

impl Estimate {
    /// The mean of independent observations.
    fn mean(observations: impl IntoIterator<Item = f64>) -> Self {
        let all: Vec<f64> = observations.into_iter().collect();
        let n = all.len() as f64;
        let value = all.iter().sum::<f64>() / n;
        let variance = all.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
        Self { value, se: (variance / n).sqrt() }
    }

    /// The standard deviation of independent observations. Its own error is that of the variance, which the fourth
    /// moment gives, carried through the root.
    fn deviation(observations: &[f64]) -> Self {
        let mean = Self::mean(observations.iter().copied()).value;
        let variance = Self::mean(observations.iter().map(|x| (x - mean).powi(2)));
        let value = variance.value.sqrt();
        Self { value, se: variance.se / (2.0 * value) }
    }

    /// The rate of `hits` in `n` independent trials. The variance is that of (hits + 1) / (n + 2), so that no trial's
    /// failing or succeeding does not stand for certainty.
    fn rate(hits: usize, n: usize) -> Self {
        let p = (hits as f64 + 1.0) / (n as f64 + 2.0);
        Self { value: hits as f64 / n as f64, se: (p * (1.0 - p) / n as f64).sqrt() }
    }

    fn of_reference(entry: &Value) -> Self {
        match entry {
            Value::Array(pair) => Self { value: pair[0].as_f64().unwrap(), se: pair[1].as_f64().unwrap() },
            _ => Self { value: entry["mean"].as_f64().unwrap(), se: entry["mean_se"].as_f64().unwrap() },
        }
    }

    /// The same with a standard error for rows that come in groups of like count.
    fn in_groups_of(self, rows: usize) -> Self {
        Self { se: self.se * (rows as f64).sqrt(), ..self }
    }
}

/// Asks for agreement within five standard errors.
#[track_caller]
fn check(what: &str, ours: Estimate, theirs: Estimate) {
    let bound = 5.0 * ours.se.hypot(theirs.se);
    let gap = (ours.value - theirs.value).abs();
    assert!(gap <= bound, "{what}: {} where the reference has {}, bound {bound}", ours.value, theirs.value);
}

fn keys(batch: usize, rows: usize) -> Vec<MaskKey> {
    let first = (batch * rows) as u64;
    (0..rows as u64).map(|row| MaskKey { seed: 11, epoch: 0, sample_id: first + row, clone: 0 }).collect()
}

fn sample(config: &MaskConfig, positions: Positions, rows: usize) -> Mask {
    config.build().unwrap().sample_batch(positions, None, &keys(0, rows)).unwrap()
}

fn rate_at(mask: &Mask, position: usize) -> Estimate {
    Estimate::rate((0..mask.rows()).filter(|&row| mask.row(row)[position]).count(), mask.rows())
}

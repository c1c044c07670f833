//! One kind of features of one network under every probe.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;
use super::features::FeatureSet;
use super::few_labels::{self, FewLabelsConfig};
use super::intervals::{
    Difference, Interval, Mean, binomial_error, paired_items, paired_repetitions, wilson,
};
use super::knn;
use super::linear_probe::{LinearProbe, LinearProbeConfig};

/// Which weights of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// The trained network.
    Student,
    /// Its moving average.
    Teacher,
    /// The same network at its random start, by the run's own seed.
    Random,
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Student => "student",
            Self::Teacher => "teacher",
            Self::Random => "random init",
        })
    }
}

/// A way to read labels from features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// Logistic regression on all training labels, see [`linear_probe`](super::linear_probe).
    Linear {},
    /// Votes of the nearest neighbours, see [`knn`].
    Knn {
        /// Neighbours that vote.
        neighbours: usize,
    },
    /// Logistic regression on few labels, see [`few_labels`].
    FewLabels {
        /// Labels per draw.
        labels: usize,
        /// Number of draws.
        draws: usize,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear {} => f.write_str("linear"),
            Self::Knn { neighbours } => write!(f, "knn, k {neighbours}"),
            Self::FewLabels { labels, .. } => write!(f, "{labels} labels"),
        }
    }
}

/// How features are probed; the same for everything in a report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeSettings {
    /// The linear probe, also as fitted to few labels.
    pub linear: LinearProbeConfig,
    /// Neighbours that vote; at least 1.
    pub neighbours: usize,
    /// The few-label probe; without it that probe is left out.
    pub few_labels: Option<FewLabelsConfig>,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            linear: LinearProbeConfig::default(),
            neighbours: knn::DEFAULT_NEIGHBOURS,
            few_labels: Some(FewLabelsConfig::default()),
        }
    }
}

/// The result of one probe on one kind of features of one network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Share of test samples classified correctly; for few labels its mean over the draws.
    pub accuracy: f64,
    /// Binomial over test samples; for few labels that of the mean over the draws.
    pub standard_error: f64,
    /// 95 %: Wilson's over test samples; for few labels Student's t over the draws.
    pub interval: Interval,
    /// Fits that ran out of steps before their gradient met the tolerance.
    pub unfinished_fits: usize,
    #[serde(skip)]
    outcome: Outcome,
}

/// What a score was computed from, kept for pairing.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// Whether each test item was classified correctly.
    Items(Vec<bool>),
    /// The accuracy of each draw.
    Draws(Vec<f64>),
}

impl Score {
    fn of_items(predictions: &[u32], labels: &[u32], unfinished_fits: usize) -> Self {
        let correct: Vec<bool> =
            predictions.iter().zip(labels).map(|(given, label)| given == label).collect();
        let (right, all) = (correct.iter().filter(|right| **right).count(), correct.len());
        Self {
            accuracy: right as f64 / all as f64,
            standard_error: binomial_error(right, all),
            interval: wilson(right, all),
            unfinished_fits,
            outcome: Outcome::Items(correct),
        }
    }

    /// `None` for fewer than two draws.
    fn of_draws(accuracies: Vec<f64>, unfinished_fits: usize) -> Option<Self> {
        let mean = Mean::of(&accuracies)?;
        Some(Self {
            accuracy: mean.mean,
            standard_error: mean.standard_error?,
            interval: mean.interval?,
            unfinished_fits,
            outcome: Outcome::Draws(accuracies),
        })
    }

    /// This score minus `other`, paired; `None` where the two do not belong together.
    pub fn minus(&self, other: &Self) -> Option<Difference> {
        match (&self.outcome, &other.outcome) {
            (Outcome::Items(first), Outcome::Items(second)) => paired_items(first, second),
            (Outcome::Draws(first), Outcome::Draws(second)) => paired_repetitions(first, second),
            _ => None,
        }
    }
}

/// Every probe of `settings` on one kind of features.
///
/// # Errors
/// Whatever a probe refuses.
pub fn score(set: &FeatureSet, settings: &ProbeSettings) -> Result<Vec<(Probe, Score)>, Error> {
    let labels = &set.test.labels;
    let linear = LinearProbe::fit(&set.train, &settings.linear)?;
    let unfinished = usize::from(!linear.fit_result().converged);
    let by_linear = Score::of_items(&linear.predict(&set.test.features_nd)?, labels, unfinished);

    let neighbours = settings.neighbours;
    let by_knn = Score::of_items(&knn::predict(&set.train, &set.test.features_nd, neighbours)?, labels, 0);
    let mut scores = vec![(Probe::Linear {}, by_linear), (Probe::Knn { neighbours }, by_knn)];

    if let Some(few) = &settings.few_labels {
        let draws = few_labels::accuracies(set, few, &settings.linear)?;
        let unfinished = draws.iter().filter(|(_, fit)| !fit.converged).count();
        let accuracies = draws.into_iter().map(|(accuracy, _)| accuracy).collect();
        let by_few = Score::of_draws(accuracies, unfinished).expect("at least two draws were checked");
        scores.push((Probe::FewLabels { labels: few.labels, draws: few.draws }, by_few));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    /// Accuracies must be within five binomial errors of `expected`, and at most `cost` below that.
    fn check(distance: f32, expected: f64, cost: impl Fn(Probe) -> f64) {
        let set = planted::gaussians(3, 60, 6, distance, 1);
        let few = FewLabelsConfig { labels: 30, draws: 4, seed: 1 };
        let settings = ProbeSettings { few_labels: Some(few), ..Default::default() };
        let scores = score(&set, &settings).expect("a good problem");
        assert_eq!(scores.len(), 3);
        let bound = 5.0 * (expected * (1.0 - expected) / 180.0f64).sqrt();
        for (probe, score) in scores {
            assert!(score.accuracy < expected + bound, "{probe}: {score:?}");
            assert!(score.accuracy > expected - bound - cost(probe), "{probe}: {score:?}");
            assert!(score.interval.low <= score.accuracy && score.accuracy <= score.interval.high);
            assert_eq!(score.unfinished_fits, 0);
        }
    }

    #[test]
    fn noise_scores_chance() {
        check(0.0, 1.0 / 3.0, |_| 0.0);
    }

    #[test]
    fn overlapping_clouds_score_what_the_best_classifier_can() {
        // A sample is nearest to its own of three centres at distance 2 along three axes with probability
        // ∫ φ(x − 2) Φ(x)² dx = 0.8658. Cosines ignore the length, and few labels are few.
        check(2.0, 0.8658, |probe| if probe == (Probe::Linear {}) { 0.0 } else { 0.05 });
    }

    #[test]
    fn scores_of_different_kinds_have_no_difference() {
        let items = Score::of_items(&[0, 1], &[0, 0], 0);
        let draws = Score::of_draws(vec![0.5, 0.7], 0).expect("two draws");
        assert_eq!((items.accuracy, draws.accuracy), (0.5, 0.6));
        assert_eq!(items.minus(&draws), None);
        assert_eq!(items.minus(&items).expect("the same items").difference, 0.0);
        assert_eq!(Score::of_draws(vec![0.5], 0), None);
    }
}

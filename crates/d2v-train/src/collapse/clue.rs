//! Why is it collapsing? What points to a cause, once there is an alarm.

use std::fmt;

use super::config::CollapseConfig;
use super::observation::{Observation, Stage};
use super::watch::{GradientBurst, WatchState};

/// A burst of the gradient longer ago than this is no longer held against the learning rate.
const BURST_MEMORY_STEPS: u64 = 500;

/// Predictions this alike across samples no longer depend on the sample.
const SAME_FOR_EVERY_SAMPLE: f64 = 0.98;

/// Something that makes one cause likelier than another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Clue {
    /// The highest learning rate so far is beyond what the method is trained with.
    HighLr { lr: f64, high: f64 },
    /// There is next to no warm-up.
    ShortWarmup { fraction: f64 },
    /// The gradient burst not long ago.
    GradientBurst { burst: GradientBurst, now: u64 },
    /// A block's activations have grown out of proportion.
    ActivationGrowth { stage: Stage, growth: f64 },
    /// Tau is below what keeps the teacher apart.
    LowTau { tau: f64, low: f64 },
    /// The teacher's weights are next to the student's.
    TeacherClose { distance: f64 },
    /// The predictions are the same whatever the sample.
    SameForEverySample { cosine: f64 },
}

/// The clues of one observation, given what came before it.
pub(super) fn gather(config: &CollapseConfig, state: &WatchState, seen: &Observation) -> Vec<Clue> {
    let mut clues = Vec::new();
    if state.highest_lr >= config.high_lr {
        clues.push(Clue::HighLr { lr: state.highest_lr, high: config.high_lr });
    }
    if seen.warmup_fraction < config.short_warmup_fraction {
        clues.push(Clue::ShortWarmup { fraction: seen.warmup_fraction });
    }
    if let Some(burst) = state.last_burst
        && seen.step - burst.step.min(seen.step) <= BURST_MEMORY_STEPS
    {
        clues.push(Clue::GradientBurst { burst, now: seen.step });
    }
    if let Some((stage, growth)) = largest_growth(state, seen)
        && growth >= config.activation_growth
    {
        clues.push(Clue::ActivationGrowth { stage, growth });
    }
    if seen.tau < config.low_tau {
        clues.push(Clue::LowTau { tau: seen.tau, low: config.low_tau });
    }
    if seen.relative_distance < config.min_relative_distance {
        clues.push(Clue::TeacherClose { distance: seen.relative_distance });
    }
    if let Some(cosine) = seen.stages.get(&Stage::Prediction).and_then(|s| s.sample_cosine)
        && cosine >= SAME_FOR_EVERY_SAMPLE
    {
        clues.push(Clue::SameForEverySample { cosine });
    }
    clues
}

/// The block whose raw deviation grew most since the start, and how many times.
fn largest_growth(state: &WatchState, seen: &Observation) -> Option<(Stage, f64)> {
    let growth = |(stage, start): (&Stage, &super::watch::StageStart)| {
        let now = seen.stages.get(stage)?.raw_std;
        (matches!(stage, Stage::Block(_)) && start.raw_std > 0.0).then_some((*stage, now / start.raw_std))
    };
    state.start_stages.iter().filter_map(growth).max_by(|a, b| a.1.total_cmp(&b.1))
}

impl fmt::Display for Clue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HighLr { lr, high } => write!(f, "learning rate up to {lr:.1e}, {high:.0e} is high"),
            Self::ShortWarmup { fraction } => write!(f, "warm-up takes {:.1} % of the run", 100.0 * fraction),
            Self::GradientBurst { burst, now } => write!(
                f,
                "gradient norm {:.1} times the usual at step {}, {} steps ago",
                burst.ratio,
                burst.step,
                now.saturating_sub(burst.step)
            ),
            Self::ActivationGrowth { stage, growth } => {
                write!(f, "raw deviation of {stage} is {growth:.1} times that of the start")
            }
            Self::LowTau { tau, low } => write!(f, "tau is {tau}, below {low}"),
            Self::TeacherClose { distance } => {
                write!(f, "the teacher's weights are within {distance:.1e} of the student's")
            }
            Self::SameForEverySample { cosine } => {
                write!(f, "predictions hardly depend on the sample (cosine between samples {cosine:.3})")
            }
        }
    }
}

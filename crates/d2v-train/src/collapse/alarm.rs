//! Is it collapsing? What raises an alarm.

use std::fmt;

use super::config::CollapseConfig;
use super::observation::{Observation, Stage};
use super::watch::WatchState;

/// A stage is flat only if it also lost this much of its deviation at the start: small scales are not collapses.
const FLAT_OF_START: f64 = 0.1;

/// Neighbours are too alike only if the distance of their cosine to 1 shrank to this share of its start.
const ADJACENT_DISTANCE_OF_START: f64 = 0.25;

/// One thing that is wrong with what the network computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Alarm {
    /// A statistic of targets or predictions is not finite, or was undefined because there is no variance.
    Undefined { what: String },
    /// The loss or the gradient of an update is not finite.
    UpdateNotFinite { what: &'static str },
    /// The targets vary in too few directions.
    RankLow { rank: f64, floor: f64, limit: f64 },
    /// The targets vary in far fewer directions than at the start.
    RankFell { rank: f64, start: f64 },
    /// Position alone explains the targets.
    PositionOnly { share: f64, max: f64 },
    /// The targets are the same at every token.
    TargetFlat { std: f64, min: f64 },
    /// The predictions are the same at every token.
    PredictionFlat { std: f64, min: f64 },
    /// A stage's raw output hardly changes along a sequence.
    StageFlat { stage: Stage, std: f64, start: f64 },
    /// A block's output has grown out of proportion, in far fewer directions than at the start: the student jumped.
    BlockRanAway { stage: Stage, growth: f64, share: f64 },
    /// The front end gives features of far fewer directions than at the start.
    FrontEndRankFell { rank: f64, start: f64 },
    /// Neighbouring targets have become alike.
    AdjacentTargets { cosine: f64, start: f64 },
    /// The loss runs away upwards.
    Diverging { loss: f64, lowest: f64, r2: f64 },
    /// The student stays below what position alone explains, or explains nothing.
    R2Low { r2: f64, floor: f64, zero_ratio: f64, observations: u32 },
}

/// How much an alarm means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// A reason to look; never a collapse by itself.
    Suspicious,
    /// A collapse if it persists.
    Collapse,
    /// A collapse at once.
    Final,
}

impl Alarm {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Undefined { .. } => Severity::Final,
            // Skipped updates are counted, and limited, where updates are made.
            Self::UpdateNotFinite { .. } | Self::R2Low { .. } => Severity::Suspicious,
            _ => Severity::Collapse,
        }
    }
}

/// The alarms of one observation, given what came before it.
pub(super) fn raise(config: &CollapseConfig, state: &WatchState, seen: &Observation) -> Vec<Alarm> {
    let mut alarms = not_finite(seen);
    if seen.step >= config.grace_steps {
        alarms.extend(of_targets(config, state, seen));
        alarms.extend(of_predictions(config, state, seen));
        alarms.extend(of_stages(config, state, seen));
    }
    alarms
}

fn not_finite(seen: &Observation) -> Vec<Alarm> {
    let mut alarms: Vec<_> = [("the loss", seen.loss), ("the gradient norm", seen.grad_norm)]
        .into_iter()
        .filter(|(_, value)| !value.is_finite())
        .map(|(what, _)| Alarm::UpdateNotFinite { what })
        .collect();
    let named = [
        ("the deviation of the targets", seen.target_std),
        ("the deviation of the predictions", seen.prediction_std),
        ("the effective rank of the targets", seen.effective_rank),
        ("the position share", seen.position_share.unwrap_or(0.0)),
        ("R2", seen.r2),
        ("the distance between student and teacher", seen.relative_distance),
    ];
    let undefined = |what: String| Alarm::Undefined { what };
    alarms
        .extend(named.iter().filter(|(_, v)| !v.is_finite()).map(|(what, _)| undefined((*what).to_owned())));
    let stages = seen.stages.iter().filter(|(_, s)| !(s.raw_std.is_finite() && s.effective_rank.is_finite()));
    alarms.extend(stages.map(|(stage, _)| undefined(format!("the output of {stage}"))));
    alarms
}

fn of_targets(config: &CollapseConfig, state: &WatchState, seen: &Observation) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let (rank, limit) = (seen.effective_rank, seen.rank_limit);
    let floor = config.effective_rank_floor(limit);
    if rank < floor {
        alarms.push(Alarm::RankLow { rank, floor, limit });
    }
    if let Some(start) = state.start_effective_rank
        && rank < config.min_effective_rank_of_start * start
    {
        alarms.push(Alarm::RankFell { rank, start });
    }
    if let Some(share) = seen.position_share
        && share > config.max_position_share
    {
        alarms.push(Alarm::PositionOnly { share, max: config.max_position_share });
    }
    if seen.target_std < config.min_target_std {
        alarms.push(Alarm::TargetFlat { std: seen.target_std, min: config.min_target_std });
    }
    if let (Some(cosine), Some(start)) = (seen.adjacent_cosine, state.start_adjacent_cosine)
        && cosine > config.max_adjacent_cosine
        && 1.0 - cosine <= ADJACENT_DISTANCE_OF_START * (1.0 - start)
    {
        alarms.push(Alarm::AdjacentTargets { cosine, start });
    }
    alarms
}

fn of_predictions(config: &CollapseConfig, state: &WatchState, seen: &Observation) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if seen.step >= config.prediction_grace_steps && seen.prediction_std < config.min_prediction_std {
        alarms.push(Alarm::PredictionFlat { std: seen.prediction_std, min: config.min_prediction_std });
    }
    if let Some(lowest) = state.lowest_loss
        && seen.loss > config.max_loss_rise * lowest
        && seen.r2 < 0.0
    {
        alarms.push(Alarm::Diverging { loss: seen.loss, lowest, r2: seen.r2 });
    }
    if state.low_r2_observations >= config.r2_patience_observations {
        alarms.push(Alarm::R2Low {
            r2: seen.r2,
            floor: r2_floor(config, seen),
            zero_ratio: seen.predict_zero_ratio,
            observations: state.low_r2_observations,
        });
    }
    alarms
}

fn of_stages(config: &CollapseConfig, state: &WatchState, seen: &Observation) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for (&stage, now) in &seen.stages {
        let Some(start) = state.start_stages.get(&stage) else { continue };
        let judged = stage != Stage::Prediction || seen.step >= config.prediction_grace_steps;
        if judged && now.raw_std < config.min_raw_std && now.raw_std <= FLAT_OF_START * start.raw_std {
            alarms.push(Alarm::StageFlat { stage, std: now.raw_std, start: start.raw_std });
        }
        let (growth, share) = (now.raw_std / start.raw_std, now.effective_rank / start.effective_rank);
        if matches!(stage, Stage::Block(_))
            && growth >= config.activation_growth
            && share < config.min_effective_rank_of_start
        {
            alarms.push(Alarm::BlockRanAway { stage, growth, share });
        }
        if stage == Stage::FrontEnd
            && now.effective_rank < config.min_effective_rank_of_start * start.effective_rank
        {
            alarms.push(Alarm::FrontEndRankFell { rank: now.effective_rank, start: start.effective_rank });
        }
    }
    alarms
}

/// What R2 must reach: the position share, and more than nothing.
pub(super) fn r2_floor(config: &CollapseConfig, seen: &Observation) -> f64 {
    seen.position_share.unwrap_or(0.0).max(config.min_r2)
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined { what } => {
                write!(f, "{what} is not a number: values are not finite, or there is no variance left")
            }
            Self::UpdateNotFinite { what } => write!(f, "{what} is not finite"),
            Self::RankLow { rank, floor, limit } => {
                write!(f, "effective rank of the targets {rank:.1} of at most {limit:.0}, below {floor:.1}")
            }
            Self::RankFell { rank, start } => {
                write!(f, "effective rank of the targets {rank:.1}, from {start:.1} at the start")
            }
            Self::PositionOnly { share, max } => {
                write!(f, "position alone explains {share:.2} of the targets, above {max:.2}")
            }
            Self::TargetFlat { std, min } => write!(f, "deviation of the targets {std:.4}, below {min}"),
            Self::PredictionFlat { std, min } => {
                write!(f, "deviation of the predictions {std:.4}, below {min}")
            }
            Self::StageFlat { stage, std, start } => {
                write!(
                    f,
                    "raw deviation of {stage} along the sequence {std:.1e}, from {start:.1e} at the start"
                )
            }
            Self::BlockRanAway { stage, growth, share } => write!(
                f,
                "effective rank of {stage} is {share:.2} of that of the start, its deviation {growth:.1} times"
            ),
            Self::FrontEndRankFell { rank, start } => {
                write!(f, "effective rank of the front end {rank:.1}, from {start:.1} at the start")
            }
            Self::AdjacentTargets { cosine, start } => {
                write!(f, "cosine of neighbouring targets {cosine:.3}, from {start:.3} at the start")
            }
            Self::Diverging { loss, lowest, r2 } => {
                write!(f, "loss {loss:.3}, up from {lowest:.3}, with R2 {r2:.2}")
            }
            Self::R2Low { r2, floor, zero_ratio, observations } => write!(
                f,
                "R2 {r2:.3} below {floor:.3} in {observations} observations in a row (loss {zero_ratio:.2} of that \
                 of predicting zero): the student knows less than the mean of each position"
            ),
        }
    }
}

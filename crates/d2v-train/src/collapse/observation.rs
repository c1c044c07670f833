//! What the watch is told at a step.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use d2v_targets::statistics::StageStatistics;
use serde::{Deserialize, Serialize};

/// A place in the network whose output is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Stage {
    /// The student's front end, before anything is hidden and before positions are added.
    FrontEnd,
    /// The output of the student's block with this index, from 0.
    Block(usize),
    /// What the teacher's layers give before any normalisation.
    Teacher,
    /// The student's predictions.
    Prediction,
}

/// Text that names no [`Stage`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no stage: expected front_end, block_N, teacher or prediction")]
pub struct UnknownStage(String);

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrontEnd => f.write_str("front_end"),
            Self::Block(index) => write!(f, "block_{index}"),
            Self::Teacher => f.write_str("teacher"),
            Self::Prediction => f.write_str("prediction"),
        }
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        match text {
            "front_end" => Ok(Self::FrontEnd),
            "teacher" => Ok(Self::Teacher),
            "prediction" => Ok(Self::Prediction),
            _ => text
                .strip_prefix("block_")
                .and_then(|index| index.parse().ok())
                .map(Self::Block)
                .ok_or_else(|| UnknownStage(text.to_owned())),
        }
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.to_string()
    }
}

impl TryFrom<String> for Stage {
    type Error = UnknownStage;

    fn try_from(text: String) -> Result<Self, UnknownStage> {
        text.parse()
    }
}

/// The statistics of one step, as `d2v_targets::statistics` computes them, and the settings in force.
///
/// `None` means that the shape of the batch leaves the number undefined; NaN, that it could not be computed from the
/// values, which the watch reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observation {
    /// Updates done before this step.
    pub step: u64,
    /// The learning rate of this step's update.
    pub lr: f64,
    /// The share of the planned updates that the warm-up takes, 0 to 1.
    pub warmup_fraction: f64,
    /// The teacher's decay at this step, 0 to 1.
    pub tau: f64,
    /// The loss, best as a mean since the last observation.
    pub loss: f64,
    /// The loss over the loss of predicting zero; `predict_zero_ratio`.
    pub predict_zero_ratio: f64,
    /// The global gradient norm before clipping, best the largest since the last observation.
    pub grad_norm: f64,
    /// Deviation of the targets at hidden positions over tokens; `token_std`.
    pub target_std: f64,
    /// Deviation of the predictions over tokens; `token_std`.
    pub prediction_std: f64,
    /// Effective rank of the targets; `effective_rank`.
    pub effective_rank: f64,
    /// The largest value that rank could take; `rank_limit`.
    pub rank_limit: f64,
    /// Share of the targets' variance that position explains; `position_share`. `None` for a single sample.
    pub position_share: Option<f64>,
    /// Share of the targets' variance that the predictions explain; `r2`.
    pub r2: f64,
    /// Mean cosine of neighbouring targets; `adjacent_cosine`. `None` for a single position.
    pub adjacent_cosine: Option<f64>,
    /// Distance of the teacher's averaged weights from the student's; `relative_distance`.
    pub relative_distance: f64,
    /// The stages measured.
    pub stages: BTreeMap<Stage, StageStatistics>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_written_and_read_by_name() {
        for stage in [Stage::FrontEnd, Stage::Block(0), Stage::Block(11), Stage::Teacher, Stage::Prediction] {
            assert_eq!(stage.to_string().parse(), Ok(stage));
        }
        let json = serde_json::to_string(&BTreeMap::from([(Stage::Block(2), 1.0)])).unwrap();
        assert_eq!(json, r#"{"block_2":1.0}"#, "a stage can be the key of a map");
    }

    #[test]
    fn other_names_are_refused() {
        for text in ["", "block", "block_", "block_x", "block_-1", "Teacher"] {
            assert!(text.parse::<Stage>().is_err(), "'{text}'");
        }
    }
}

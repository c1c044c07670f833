//! The scenarios a collapse can look like, how one is told from another, and what each asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::clue::Clue;

/// What a collapse looks like: the three scenarios of the data2vec paper (section 5, "Representation collapse"), one
/// that its users met later, and none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The learning rate is too high or its warm-up too short: the student jumps to a trivial answer, the teacher
    /// follows.
    LearningRate,
    /// Tau is too low: the teacher is too near to hold a collapsing student.
    Tau,
    /// Neighbouring targets are so alike that a hidden one can be filled in from those beside it.
    CorrelatedTargets,
    /// The front end collapses below a Transformer that still looks healthy (fairseq issue 5239).
    LocalEncoder,
    /// The alarms fit none of the others.
    Unknown,
}

impl Scenario {
    /// The likeliest scenario behind some alarms.
    ///
    /// In the order of how directly the evidence names the cause: settings far outside what works, then the mark that
    /// a cause leaves, then the weaker marks. A rising loss together with alike neighbours goes before tau, because it
    /// is what targets without normalisation do, at any tau.
    pub(super) fn likeliest(alarms: &[Alarm], clues: &[Clue]) -> Self {
        let alarm = |is: fn(&Alarm) -> bool| alarms.iter().any(is);
        let clue = |is: fn(&Clue) -> bool| clues.iter().any(is);
        let adjacent = alarm(|a| matches!(a, Alarm::AdjacentTargets { .. }));
        let burst = clue(|c| matches!(c, Clue::GradientBurst { .. } | Clue::ActivationGrowth { .. }));
        let student_first = alarm(|a| matches!(a, Alarm::PredictionFlat { .. }))
            && !alarm(|a| matches!(a, Alarm::TargetFlat { .. }));
        let front_end = alarm(|a| {
            let flat = matches!(a, Alarm::StageFlat { stage: super::Stage::FrontEnd, .. });
            flat || matches!(a, Alarm::FrontEndRankFell { .. })
        });
        if clue(|c| matches!(c, Clue::HighLr { .. })) {
            Self::LearningRate
        } else if adjacent && alarm(|a| matches!(a, Alarm::Diverging { .. })) {
            Self::CorrelatedTargets
        } else if clue(|c| matches!(c, Clue::LowTau { .. })) {
            Self::Tau
        } else if adjacent {
            Self::CorrelatedTargets
        } else if front_end {
            Self::LocalEncoder
        } else if burst || student_first {
            Self::LearningRate
        } else if clue(|c| matches!(c, Clue::TeacherClose { .. })) {
            Self::Tau
        } else if clue(|c| matches!(c, Clue::ShortWarmup { .. })) {
            Self::LearningRate
        } else {
            Self::Unknown
        }
    }

    /// What to change, most promising first.
    pub fn advice(self) -> &'static str {
        match self {
            Self::LearningRate => {
                "Lower the learning rate (a half to a tenth), lengthen the warm-up (5 to 10 % of the run), clip the \
                 gradient norm."
            }
            Self::Tau => {
                "Raise tau, at the start and at the end (0.998 to 0.9998 in short runs, 0.999 to 0.9999 in long ones), \
                 or let it rise over more steps."
            }
            Self::CorrelatedTargets => {
                "Normalise the targets over the sequence (instance norm) or the batch, average more layers, hide \
                 shorter spans."
            }
            Self::LocalEncoder => {
                "Look at the front end: average it into the teacher instead of sharing it, lower its learning rate, \
                 check its input for silence or constants."
            }
            Self::Unknown => {
                "Change one thing at a time: a higher tau, a lower learning rate, normalised targets, more layers in \
                 their average; and hold the run against a control with tau = 1."
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LearningRate => "the learning rate is too high or its warm-up too short",
            Self::Tau => "tau is too low: the teacher follows a collapsing student",
            Self::CorrelatedTargets => "neighbouring targets are too alike: filling in from beside is enough",
            Self::LocalEncoder => "the front end has collapsed below a Transformer that looks healthy",
            Self::Unknown => "none of the known scenarios",
        })
    }
}

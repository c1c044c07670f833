//! What the watch says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::clue::Clue;
use super::scenario::Scenario;

/// How a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Nothing raised an alarm.
    Healthy,
    /// Something did, not often or not gravely enough to be sure.
    Suspicious,
    /// It is a collapse.
    Collapsed,
}

/// The watch's answer to one observation. Its `Display` is meant to be read by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The step of the observation.
    pub step: u64,
    /// How the run is doing.
    pub state: RunState,
    /// What it looks like; `None` while healthy.
    pub scenario: Option<Scenario>,
    /// What speaks for it, alarms first; empty while healthy.
    pub evidence: Vec<String>,
    /// What to change; empty while healthy.
    pub advice: String,
}

impl Verdict {
    /// The verdict on a run that nothing speaks against.
    pub(super) fn healthy(step: u64) -> Self {
        Self { step, state: RunState::Healthy, scenario: None, evidence: Vec::new(), advice: String::new() }
    }

    /// The verdict that alarms and clues add up to.
    pub(super) fn alarming(step: u64, state: RunState, alarms: &[Alarm], clues: &[Clue]) -> Self {
        let scenario = Scenario::likeliest(alarms, clues);
        let evidence = alarms.iter().map(Alarm::to_string).chain(clues.iter().map(Clue::to_string)).collect();
        let mut advice = scenario.advice().to_owned();
        if alarms.iter().any(|a| matches!(a, Alarm::PositionOnly { .. })) {
            advice.push_str(
                " Since position explains the targets: weaken what tells the network its position (smaller position \
                 embeddings, shorter positional convolutions, crops at random offsets).",
            );
        }
        Self { step, state, scenario: Some(scenario), evidence, advice }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step;
        let Some(scenario) = self.scenario else { return write!(f, "step {step}: no sign of collapse") };
        let state = if self.state == RunState::Collapsed { "collapsed" } else { "may be collapsing" };
        writeln!(f, "step {step}: the run {state}; it looks like: {scenario}")?;
        for line in &self.evidence {
            writeln!(f, "  - {line}")?;
        }
        write!(f, "  What to change: {}", self.advice)
    }
}

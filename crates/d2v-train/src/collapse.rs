//! The collapse watch: reads a run's statistics as it goes, and says in words when they look like a collapse.
//!
//! A collapsed data2vec run does not crash. Its loss falls, its targets and predictions keep a healthy spread, and its
//! features can still beat a random network's. What gives it away is elsewhere, and no single number shows every case,
//! so an [`Observation`] carries many, [`CollapseWatch::observe`] holds them against [`CollapseConfig`], and the
//! [`Verdict`] gives the state, the evidence, the [`Scenario`] it looks like and what to change.
//!
//! Two questions are kept apart. *Is it collapsing?* is answered by alarms, which read what the network computes
//! (`alarm.rs`). *Why?* is answered by clues, which also read the settings (`clue.rs`, `scenario.rs`): a low tau is no
//! reason to raise an alarm, but it is the likely cause once there is one.
//!
//! The watch is a pure function of its observations. Its [`WatchState`] goes into checkpoints, so that a resumed run
//! comes to the same verdicts as one that was never interrupted.

mod alarm;
mod clue;
mod config;
mod observation;
mod scenario;
mod verdict;
mod watch;

pub use config::{CollapseConfig, InvalidThreshold};
pub use observation::{Observation, Stage, UnknownStage};
pub use scenario::Scenario;
pub use verdict::{RunState, Verdict};
pub use watch::{CollapseWatch, WatchState};

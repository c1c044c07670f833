//! What a run must remember to go on exactly where it stopped.
//!
//! Order, augmentation, masks and dropout are functions of (seed, epoch or update, sample id), so no random state is
//! carried: the seed is in the configuration, the rest is counted here.

use crate::checkpoint::CheckpointTensors;
use crate::collapse::WatchState;
use crate::config::RunConfig;
use crate::observe::Since;
use crate::step::Learner;
use crate::{Error, Result};
use d2v_data::Cursor;
use d2v_torch::Parameters;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;

/// The state in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Updates finished, skipped ones included.
    pub step: u64,
    /// Samples seen.
    pub samples: u64,
    /// Where the data goes on.
    pub cursor: Cursor,
    /// Seconds spent so far, over all sessions.
    pub seconds: f64,
    /// Updates skipped because loss or gradient was not finite.
    pub skipped_updates: u64,
    /// How many of them are the last ones.
    pub skipped_in_a_row: u32,
    /// Since the last line of the log.
    pub since_log: Since,
    /// Since the last observation of the watch.
    pub since_watch: Since,
    /// What the watch remembers.
    pub watch: WatchState,
    /// The resolved configuration.
    pub config: RunConfig,
}

impl RunState {
    /// The state before the first update.
    pub fn start(config: &RunConfig) -> RunState {
        RunState {
            step: 0,
            samples: 0,
            cursor: Cursor::default(),
            seconds: 0.0,
            skipped_updates: 0,
            skipped_in_a_row: 0,
            since_log: Since::default(),
            since_watch: Since::default(),
            watch: WatchState::default(),
            config: config.clone(),
        }
    }

    /// Counts an update whose masks hid nothing to learn from, as those of a few short texts may, and which was skipped.
    ///
    /// # Errors
    /// [`Error::NothingHidden`] after as many skipped updates in a row as end a run: then it is no chance.
    pub fn skip_nothing_hidden(&mut self, update: u64) -> Result<()> {
        self.skipped_updates += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row >= self.config.train.max_skipped_in_a_row {
            return Err(Error::NothingHidden { update });
        }
        tracing::warn!("step {update}: the masks hide nothing; the update is skipped");
        Ok(())
    }

    /// Checks that a run with `config` would go on as this one began.
    ///
    /// Where the run is computed, its checkpoints, its alarms and its probe may change; everything else decides what is
    /// learnt.
    ///
    /// # Errors
    /// [`Error::OtherConfiguration`] naming the first setting that differs.
    pub fn check_same_run(&self, config: &RunConfig) -> Result<()> {
        let free = |config: &RunConfig| {
            let mut config = config.clone();
            config.device = String::new();
            config.threads = 0;
            config.data.threads = 1;
            config.data.queue = 1;
            let absolute = |path: std::path::PathBuf| std::path::absolute(&path).unwrap_or(path);
            config.data.path = config.data.path.map(absolute);
            config.init = config.init.map(absolute);
            config.train.probe_at_end = true;
            config.checkpoint = Default::default();
            config.collapse = Default::default();
            serde_json::to_value(config).unwrap_or_default()
        };
        match first_difference("", &free(&self.config), &free(config)) {
            None => Ok(()),
            Some((key, before, now)) => Err(Error::OtherConfiguration { key, before, now }),
        }
    }
}

/// The first key, dots between levels, whose values differ, with both as JSON.
pub(crate) fn first_difference(
    key: &str,
    a: &serde_json::Value,
    b: &serde_json::Value,
) -> Option<(String, String, String)> {
    let null = serde_json::Value::Null;
    match (a.as_object(), b.as_object()) {
        (Some(left), Some(right)) => left.keys().chain(right.keys()).find_map(|name| {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            first_difference(&inner, left.get(name).unwrap_or(&null), right.get(name).unwrap_or(&null))
        }),
        _ if a == b => None,
        _ => Some((key.to_owned(), a.to_string(), b.to_string())),
    }
}

/// The tensors of a checkpoint.
pub fn checkpoint_tensors(learner: &Learner) -> CheckpointTensors {
    CheckpointTensors {
        student: named(&learner.student.network.parameters),
        teacher: named(&learner.teacher.parameters),
        optimizer: named(&learner.optimizer.state()),
    }
}

/// Takes over the tensors of a checkpoint.
///
/// # Errors
/// If a name is missing or of another shape.
pub fn load_tensors(learner: &mut Learner, tensors: &CheckpointTensors) -> Result<()> {
    learner.student.network.parameters.copy_from(&parameters(&tensors.student))?;
    learner.teacher.parameters.copy_from(&parameters(&tensors.teacher))?;
    learner.optimizer.load(&parameters(&tensors.optimizer))
}

/// Tensors of a checkpoint as parameters.
pub fn parameters(tensors: &BTreeMap<String, Tensor>) -> Parameters {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

fn named(parameters: &Parameters) -> BTreeMap<String, Tensor> {
    parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach())).collect()
}

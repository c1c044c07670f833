//! The networks of a run: its student, its teacher, and what both were at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use d2v_data::Tokenizer;
use d2v_torch::Parameters;
use tch::{Device, Kind, Tensor};

use super::Error;
use super::score::NetworkKind;
use crate::Result;
use crate::checkpoint::{Checkpoint, is_checkpoint, latest_intact, read};
use crate::config::RunConfig;
use crate::network::{FRONT_END, Network, TRANSFORMER};
use crate::run_state::{RunState, parameters};
use crate::sources::saved_tokenizer;

/// A run at one of its checkpoints.
#[derive(Debug)]
pub struct TrainedRun {
    /// The folder as the user named it.
    pub name: String,
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Updates finished by then.
    pub step: u64,
    /// What was trained, and on what.
    pub config: RunConfig,
    /// What makes tokens of text, of a run on text.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Front end and Transformer of the student, on the CPU.
    student: Parameters,
    /// The teacher, on the CPU.
    teacher: Parameters,
}

impl TrainedRun {
    /// Opens a run at its newest intact checkpoint, or the one checkpoint that `folder` is; takes no lock, so the run
    /// may be going on. Damaged checkpoints that were passed over are told through the log.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; otherwise whatever reading a checkpoint refuses.
    pub fn open(folder: &Path) -> Result<Self> {
        let Checkpoint { step, folder: checkpoint, tensors, state, .. } = open_checkpoint(folder)?;
        let tokenizer = tokenizer_beside(&checkpoint)?;
        Ok(Self {
            tokenizer,
            name: folder.display().to_string(),
            checkpoint,
            step,
            config: state.config,
            student: backbone(&tensors.student),
            teacher: backbone(&tensors.teacher),
        })
    }

    /// One of the run's networks, in f32; it records no gradients.
    ///
    /// # Errors
    /// If the tensors of the checkpoint are not those of the configured network.
    pub fn network(&self, kind: NetworkKind, device: Device) -> Result<Network> {
        // Start values depend on seed and name alone: the student's, although it had a head beside them.
        let network = Network::new(&self.config.model, device, Kind::Float, self.config.seed)?;
        match kind {
            NetworkKind::Student => network.parameters.copy_from(&self.student)?,
            NetworkKind::Teacher => network.parameters.copy_from(&self.teacher)?,
            NetworkKind::Random => {}
        }
        Ok(network)
    }
}

/// The newest intact checkpoint of a run, or the one checkpoint that `folder` is, as [`TrainedRun::open`] takes it.
///
/// # Errors
/// As [`TrainedRun::open`].
pub(crate) fn open_checkpoint(folder: &Path) -> Result<Checkpoint<RunState>> {
    let found = if is_checkpoint(folder) {
        Some(read::<RunState>(folder)?)
    } else {
        let latest = latest_intact::<RunState>(folder)?;
        for damaged in &latest.damaged {
            tracing::warn!("checkpoint passed over: {damaged}");
        }
        latest.checkpoint
    };
    Ok(found.ok_or_else(|| Error::NoCheckpoint { folder: folder.to_owned() })?)
}

/// The tokenizer in the run's folder that a checkpoint lies in.
///
/// # Errors
/// If it is damaged.
pub(crate) fn tokenizer_beside(checkpoint: &Path) -> Result<Option<Arc<Tokenizer>>> {
    match checkpoint.ancestors().nth(2) {
        Some(run) => saved_tokenizer(run),
        None => Ok(None),
    }
}

/// The tokenizer of a run's folder, or of the run that a checkpoint's folder lies in.
///
/// # Errors
/// If it is damaged.
pub(crate) fn tokenizer_of(folder: &Path) -> Result<Option<Arc<Tokenizer>>> {
    if is_checkpoint(folder) { tokenizer_beside(folder) } else { saved_tokenizer(folder) }
}

/// What student and teacher share: everything but the prediction head.
fn backbone(tensors: &BTreeMap<String, Tensor>) -> Parameters {
    let shared = |name: &str| name.starts_with(FRONT_END) || name.starts_with(TRANSFORMER);
    let named = parameters(tensors);
    named
        .iter()
        .filter(|(name, _)| shared(name))
        .map(|(name, t)| (name.to_owned(), t.shallow_clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tiny_run;
    use super::*;
    use crate::exit::Exit;
    use crate::network::Student;

    #[test]
    fn the_three_networks_are_those_of_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = tiny_run::train(folder.path(), 3, 5);
        let run = TrainedRun::open(folder.path()).expect("a run");
        assert_eq!((run.step, &run.config), (3, &config));
        let of = |kind| run.network(kind, Device::Cpu).expect("the run's own tensors").parameters;
        let same = |a: &Parameters, b: &Parameters| {
            a.check_same(b).expect("one network");
            a.iter().zip(b.iter()).all(|((_, a), (_, b))| a.equal(b))
        };
        let [student, teacher, random] =
            [NetworkKind::Student, NetworkKind::Teacher, NetworkKind::Random].map(of);
        assert!(same(&student, &run.student) && same(&teacher, &run.teacher));
        let start = Student::new(&config.model, Device::Cpu, Kind::Float, 5).expect("a good configuration");
        let start: BTreeMap<String, Tensor> =
            start.network.parameters.iter().map(|(name, t)| (name.to_owned(), t.detach())).collect();
        assert!(same(&random, &backbone(&start)), "not the student's start");
        assert!(!same(&student, &random) && !same(&student, &teacher) && !same(&teacher, &random));
    }

    #[test]
    fn one_checkpoint_can_be_named() {
        let folder = tempfile::tempdir().expect("a folder");
        tiny_run::train(folder.path(), 4, 0);
        let earlier = folder.path().join("checkpoints").join("step-2");
        let run = TrainedRun::open(&earlier).expect("a checkpoint");
        assert_eq!((run.step, &run.checkpoint), (2, &earlier));
    }

    #[test]
    fn a_folder_without_checkpoint_is_a_usage_error() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = anyhow::Error::from(TrainedRun::open(&path).expect_err("no run"));
            assert_eq!(Exit::of(&error), Exit::Usage, "{error:#}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error:#}");
        }
    }
}

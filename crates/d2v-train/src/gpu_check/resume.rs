//! Save, load into another network, go on: the same bits as without the stop.

use crate::checkpoint::{CheckpointStore, Retention, Versions, read};
use crate::config::Precision;
use crate::recipes::LearnerConfig;
use crate::run_state::{checkpoint_tensors, load_tensors};
use crate::step::Learner;
use crate::step_timing::{set_deterministic, settings};
use serde::Serialize;
use std::num::NonZeroUsize;
use tch::{Device, Kind};

/// Updates before the stop, and after it.
const STEPS: u64 = 4;
/// Samples per update.
const BATCH: usize = 4;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resume {
    /// Updates in all.
    pub steps: u64,
    /// Whether student, teacher and optimizer have the same bits.
    pub identical: bool,
    /// The tensors that differ.
    pub different: Vec<String>,
}

/// Trains twice with deterministic kernels in bf16, once with a checkpoint on disk in between.
///
/// # Errors
/// If the checkpoint cannot be written or read, or libtorch refuses.
pub fn check(device: Device, config: &LearnerConfig) -> anyhow::Result<Resume> {
    set_deterministic(device, true)?;
    let result = compare(device, config);
    set_deterministic(device, false)?;
    result
}

fn compare(device: Device, config: &LearnerConfig) -> anyhow::Result<Resume> {
    let mut straight = config.learner(device, Kind::Float, 1)?;
    train(&mut straight, config, device, 1..=2 * STEPS)?;

    let folder = tempfile::tempdir()?;
    let retention = Retention { keep_last: NonZeroUsize::MIN, keep_every: None };
    let versions = Versions {
        program: env!("CARGO_PKG_VERSION").into(),
        libtorch: d2v_torch::settings::libtorch_version().into(),
    };
    let store = CheckpointStore::open(folder.path(), retention, versions)?;
    let mut before = config.learner(device, Kind::Float, 1)?;
    train(&mut before, config, device, 1..=STEPS)?;
    store.save(STEPS, &checkpoint_tensors(&before), &STEPS)?;
    drop(before);

    let saved = read::<u64>(&folder.path().join(format!("checkpoints/step-{STEPS}")))?;
    // Another seed: whatever is not loaded shows.
    let mut resumed = config.learner(device, Kind::Float, 2)?;
    load_tensors(&mut resumed, &saved.tensors)?;
    train(&mut resumed, config, device, saved.state + 1..=2 * STEPS)?;

    let (one, other) = (checkpoint_tensors(&straight), checkpoint_tensors(&resumed));
    let parts = [
        ("student", &one.student, &other.student),
        ("teacher", &one.teacher, &other.teacher),
        ("optimizer", &one.optimizer, &other.optimizer),
    ];
    let mut different = Vec::new();
    for (part, one, other) in parts {
        let differs =
            one.iter().filter(|(name, tensor)| other.get(*name).is_none_or(|same| !same.equal(tensor)));
        different.extend(differs.map(|(name, _)| format!("{part} {name}")));
    }
    Ok(Resume { steps: 2 * STEPS, identical: different.is_empty(), different })
}

fn train(
    learner: &mut Learner,
    config: &LearnerConfig,
    device: Device,
    updates: std::ops::RangeInclusive<u64>,
) -> crate::Result<()> {
    for update in updates {
        learner.step(&[config.noise(BATCH, update, device)?], &settings(update, Precision::Bf16))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_transformer::Size;

    #[test]
    fn going_on_changes_no_bit() {
        // As tests of whole runs do, which may come in between: kernels of both modes round differently.
        d2v_torch::settings::set_deterministic(true).unwrap();
        let resume = check(Device::Cpu, &LearnerConfig::image(Size::Tiny).shrunk()).unwrap();
        assert!(resume.identical, "{resume:?}");
    }
}

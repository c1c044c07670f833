//! Checkpoints: everything a run needs to go on bit for bit, written so that a crash at any moment leaves the one before intact.
//!
//! ```text
//! RUN/.lock                        held while a run writes here
//! RUN/checkpoints/step-N/          a whole checkpoint, or nothing of that name
//!     student.safetensors  teacher.safetensors  optimizer.safetensors
//!     state.json                   checksums, sizes and versions, its own checksum, and the caller's state
//! RUN/checkpoints/.writing-step-N  being written: removed when the run starts again
//! RUN/checkpoints/.replaced-step-N being replaced by a new one of the same step: put back if that did not get there
//! RUN/checkpoints/.deleting-step-N no longer wanted: removed when the run starts again
//! ```
//!
//! Files are written aside and synced to the disk, their folder is synced, then renamed into place, and the parent synced. Reading
//! checks sizes before it allocates and checksums before it trusts; every byte of every file is covered. What does not fit is named
//! with its reason, and [`latest_intact`] goes to the checkpoint before; where checkpoints exist but none is intact it fails,
//! since starting afresh would hide the loss.

mod error;
mod folders;
mod lock;
mod manifest;
mod reading;
mod store;
mod tensor_file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use error::{CheckpointError, Damage, Damaged};
pub use reading::{is_checkpoint, latest_intact, read};
pub use store::{CheckpointStore, Retention};
pub use tensor_file::write_tensors;

/// The tensors of a checkpoint, each by its name; their kinds, shapes and bits survive exactly.
///
/// Kinds: f16, bf16, f32, f64 and the integers. Devices and gradients are not stored: tensors come back on the CPU.
#[derive(Debug, Default)]
pub struct CheckpointTensors {
    /// The weights that are trained.
    pub student: BTreeMap<String, Tensor>,
    /// The moving average.
    pub teacher: BTreeMap<String, Tensor>,
    /// The optimizer's moments and whatever else it keeps as tensors.
    pub optimizer: BTreeMap<String, Tensor>,
}

/// What made a checkpoint, for reports and for whoever must find out why a number differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// This program's version.
    pub program: String,
    /// libtorch's version.
    pub libtorch: String,
}

/// A checkpoint as read, all of it verified.
#[derive(Debug)]
pub struct Checkpoint<S> {
    /// Updates finished when it was made.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// The tensors, on the CPU.
    pub tensors: CheckpointTensors,
    /// What made it.
    pub versions: Versions,
    /// The caller's state, as given to [`CheckpointStore::save`].
    pub state: S,
}

/// The newest intact checkpoint of a run, and the newer ones that are not.
#[derive(Debug)]
pub struct Latest<S> {
    /// `None`: the run has no checkpoints at all.
    pub checkpoint: Option<Checkpoint<S>>,
    /// The damaged ones that were passed over, newest first: tell the user.
    pub damaged: Vec<Damaged>,
}

//! Reading checkpoints: all of one verified, and the newest intact one of a run.
//!
//! Reading takes no lock: a run may be looked at while it goes on.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::folders::{self, Purpose};
use super::manifest::{self, Manifest};
use super::{Checkpoint, CheckpointError, CheckpointTensors, Damage, Damaged, Latest, tensor_file};

/// A `state.json` is a few kilobytes; beyond this it is not ours, and not read.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// Whether `folder` is one checkpoint, intact or not, rather than a run.
pub fn is_checkpoint(folder: &Path) -> bool {
    folder.join(manifest::FILE_NAME).is_file()
}

/// Reads one checkpoint, `RUN/checkpoints/step-N`.
///
/// # Errors
/// [`CheckpointError::Damaged`] names the file that is not as it was written. Otherwise if the format is not this program's, the
/// state is no `S`, or the system refuses.
pub fn read<S: Serialize + DeserializeOwned>(folder: &Path) -> Result<Checkpoint<S>, CheckpointError> {
    let path = folder.join(manifest::FILE_NAME);
    let bytes = tensor_file::read_bytes(&path, |found| {
        if found <= MAX_STATE_BYTES { Ok(()) } else { Err(Damage::Size { expected: MAX_STATE_BYTES, found }) }
    })?;
    let Manifest { step, versions, files, state, .. } = Manifest::<S>::from_bytes(&bytes, &path)?;
    let part = |name: &str, record| tensor_file::read(&folder.join(format!("{name}.safetensors")), record);
    let tensors = CheckpointTensors {
        student: part("student", &files.student)?,
        teacher: part("teacher", &files.teacher)?,
        optimizer: part("optimizer", &files.optimizer)?,
    };
    Ok(Checkpoint { step, folder: folder.to_owned(), tensors, versions, state })
}

/// Reads the newest checkpoint of a run that is intact, from the newest back.
///
/// # Errors
/// [`CheckpointError::NoneIntact`] if there are checkpoints and all are damaged. As [`read`] if one is intact but cannot be used:
/// going back behind it would throw away what it holds.
pub fn latest_intact<S: Serialize + DeserializeOwned>(run: &Path) -> Result<Latest<S>, CheckpointError> {
    let checkpoints = folders::checkpoints_of(run);
    let mut damaged = Vec::new();
    for step in folders::steps(&checkpoints)?.into_iter().rev() {
        let folder = folders::folder(&checkpoints, Purpose::Whole, step);
        match read::<S>(&folder) {
            Ok(checkpoint) if checkpoint.step == step => {
                return Ok(Latest { checkpoint: Some(checkpoint), damaged });
            }
            Ok(checkpoint) => {
                let problem = format!("it belongs to step {}, not to a folder of this name", checkpoint.step);
                let file = folder.join(manifest::FILE_NAME);
                damaged.push(Damaged { file, damage: Damage::Content { problem } });
            }
            Err(CheckpointError::Damaged(damage)) => damaged.push(damage),
            Err(error) => return Err(error),
        }
    }
    if damaged.is_empty() {
        Ok(Latest { checkpoint: None, damaged })
    } else {
        Err(CheckpointError::NoneIntact { folder: checkpoints, damaged })
    }
}

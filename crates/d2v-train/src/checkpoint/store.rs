//! Writing checkpoints: one run's folder, locked, cleared of leftovers, and kept from growing.

use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::folders::{self, Purpose};
use super::lock::RunLock;
use super::manifest::{self, FileRecords, Manifest};
use super::{CheckpointError, CheckpointTensors, Latest, Versions, reading, tensor_file};

/// Which checkpoints stay when a new one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest so many stay. With 1 there is none to go back to when it is damaged.
    pub keep_last: NonZeroUsize,
    /// Those whose step is a multiple of this stay for good.
    pub keep_every: Option<NonZeroU64>,
}

impl Retention {
    /// Of the steps that have a checkpoint, in ascending order, those to delete now that `saved` is made.
    ///
    /// Later ones than `saved` are left alone: they were found damaged, and are replaced when the run gets there.
    fn to_delete(self, steps: &[u64], saved: u64) -> Vec<u64> {
        let up_to_now = &steps[..steps.partition_point(|&step| step <= saved)];
        let old = &up_to_now[..up_to_now.len().saturating_sub(self.keep_last.get())];
        let for_good = |step: u64| self.keep_every.is_some_and(|every| step.is_multiple_of(every.get()));
        old.iter().copied().filter(|&step| !for_good(step)).collect()
    }
}

/// The checkpoints of one run, for the one process that writes them.
#[derive(Debug)]
pub struct CheckpointStore {
    run: PathBuf,
    checkpoints: PathBuf,
    retention: Retention,
    versions: Versions,
    _lock: RunLock,
}

impl CheckpointStore {
    /// Takes the folder `run`, made if it is missing, and clears up after a run that was killed there.
    ///
    /// `versions` goes into every checkpoint. The folder is held until the store is dropped.
    ///
    /// # Errors
    /// [`CheckpointError::InUse`] if another run holds the folder; otherwise if the system refuses.
    pub fn open(run: &Path, retention: Retention, versions: Versions) -> Result<Self, CheckpointError> {
        let checkpoints = folders::checkpoints_of(run);
        fs::create_dir_all(run).map_err(CheckpointError::io("create", run))?;
        let lock = RunLock::take(run)?;
        fs::create_dir_all(&checkpoints).map_err(CheckpointError::io("create", &checkpoints))?;
        folders::sync(run)?;
        folders::clear_leftovers(&checkpoints)?;
        Ok(Self { run: run.to_owned(), checkpoints, retention, versions, _lock: lock })
    }

    /// Writes the checkpoint of a step, replacing one that is there, then deletes those no longer kept.
    ///
    /// When it returns, the checkpoint is on the disk; its folder is returned. A crash or an error on the way leaves all earlier
    /// checkpoints as they were. The state is stored as JSON, which has no NaN and no infinity.
    ///
    /// # Errors
    /// If a tensor's kind is not stored, the state does not survive JSON, or the system refuses, as when the disk is full.
    pub fn save<S: Serialize + DeserializeOwned>(
        &self,
        step: u64,
        tensors: &CheckpointTensors,
        state: &S,
    ) -> Result<PathBuf, CheckpointError> {
        let writing = folders::folder(&self.checkpoints, Purpose::Writing, step);
        if let Err(error) = self.write(&writing, step, tensors, state) {
            // Frees the space at once; what cannot be removed now is removed when the run starts again.
            let _ = fs::remove_dir_all(&writing);
            return Err(error);
        }
        folders::put_in_place(&self.checkpoints, step)?;
        for old in self.retention.to_delete(&folders::steps(&self.checkpoints)?, step) {
            folders::delete(&self.checkpoints, old)?;
        }
        Ok(folders::folder(&self.checkpoints, Purpose::Whole, step))
    }

    /// Writes all files of a checkpoint into `folder`, and waits until they are on the disk.
    fn write<S: Serialize + DeserializeOwned>(
        &self,
        folder: &Path,
        step: u64,
        tensors: &CheckpointTensors,
        state: &S,
    ) -> Result<(), CheckpointError> {
        fs::create_dir(folder).map_err(CheckpointError::io("create", folder))?;
        let part =
            |name: &str, tensors| tensor_file::write(&folder.join(format!("{name}.safetensors")), tensors);
        let files = FileRecords {
            student: part("student", &tensors.student)?,
            teacher: part("teacher", &tensors.teacher)?,
            optimizer: part("optimizer", &tensors.optimizer)?,
        };
        let path = folder.join(manifest::FILE_NAME);
        let manifest = Manifest::new(step, self.versions.clone(), files, state);
        tensor_file::write_bytes(&path, &manifest.to_bytes(&path)?)?;
        folders::sync(folder)
    }

    /// The newest intact checkpoint, as [`latest_intact`](super::latest_intact) finds it.
    ///
    /// # Errors
    /// As [`latest_intact`](super::latest_intact).
    pub fn latest_intact<S: Serialize + DeserializeOwned>(&self) -> Result<Latest<S>, CheckpointError> {
        reading::latest_intact(&self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_deleted(keep_last: usize, keep_every: Option<u64>, steps: &[u64], saved: u64, expected: &[u64]) {
        let retention = Retention {
            keep_last: keep_last.try_into().unwrap(),
            keep_every: keep_every.map(|every| every.try_into().unwrap()),
        };
        assert_eq!(retention.to_delete(steps, saved), expected);
    }

    #[test]
    fn the_last_few_and_every_so_many_stay() {
        check_deleted(2, None, &[10], 10, &[]);
        check_deleted(2, None, &[10, 20, 30], 30, &[10]);
        check_deleted(1, None, &[10, 20, 30], 30, &[10, 20]);
        check_deleted(1, Some(20), &[0, 10, 20, 30, 40, 50], 50, &[10, 30]);
        check_deleted(5, Some(20), &[10, 20, 30], 30, &[]);
    }

    #[test]
    fn the_one_just_saved_stays_though_later_ones_exist() {
        check_deleted(1, None, &[10, 20, 30], 20, &[10]);
        check_deleted(2, None, &[10, 20, 30, 40], 20, &[]);
    }
}

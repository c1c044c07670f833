//! One writer per run folder.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::CheckpointError;

/// A run folder held by this process; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the folder `run`, which must exist.
    ///
    /// # Errors
    /// If another run holds it, or locking fails.
    pub(super) fn take(run: &Path) -> Result<Self, CheckpointError> {
        // The file stays when the run ends: removing it would let two later runs lock two different files of one name.
        let path = run.join(".lock");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(CheckpointError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(CheckpointError::InUse { run: run.to_owned() })
            }
            Err(error) => Err(CheckpointError::io("lock", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let run = tempfile::tempdir().unwrap();
        let held = RunLock::take(run.path()).unwrap();
        let error = RunLock::take(run.path()).unwrap_err();
        assert!(matches!(&error, CheckpointError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("choose another folder with --out"), "{error}");
        drop(held);
        RunLock::take(run.path()).unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let run = tempfile::tempdir().unwrap();
        let error = RunLock::take(&run.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("cannot open") && error.ends_with("none/.lock"), "{error}");
    }
}

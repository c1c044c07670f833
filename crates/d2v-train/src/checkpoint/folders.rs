//! Names and life of the folders in `RUN/checkpoints`: every change is a rename, synced to the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Where the checkpoints of a run live.
pub(super) fn checkpoints_of(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// What a folder in `RUN/checkpoints` is for, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A whole checkpoint.
    Whole,
    /// Being written.
    Writing,
    /// Whole, and about to be replaced by another of the same step.
    Replaced,
    /// No longer wanted, perhaps half deleted.
    Deleting,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Whole, Self::Writing, Self::Replaced, Self::Deleting];

    fn prefix(self) -> &'static str {
        match self {
            Self::Whole => "step-",
            Self::Writing => ".writing-step-",
            Self::Replaced => ".replaced-step-",
            Self::Deleting => ".deleting-step-",
        }
    }
}

/// The folder of one checkpoint.
pub(super) fn folder(checkpoints: &Path, purpose: Purpose, step: u64) -> PathBuf {
    checkpoints.join(format!("{}{step}", purpose.prefix()))
}

/// Purpose and step told by a name; `None` for names that are not ours.
fn parse(name: &str) -> Option<(Purpose, u64)> {
    Purpose::ALL.into_iter().find_map(|purpose| {
        let digits = name.strip_prefix(purpose.prefix())?;
        let step: u64 = digits.parse().ok()?;
        // `step-007` and `step-+7` are not names that we write.
        (digits == step.to_string()).then_some((purpose, step))
    })
}

/// All our folders with their steps, in no order; none if `checkpoints` does not exist.
fn list(checkpoints: &Path) -> Result<Vec<(Purpose, u64)>, CheckpointError> {
    let entries = match fs::read_dir(checkpoints) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CheckpointError::io("list", checkpoints)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(CheckpointError::io("list", checkpoints))?;
        found.extend(entry.file_name().to_str().and_then(parse));
    }
    Ok(found)
}

/// The steps of all checkpoints that look whole, oldest first.
pub(super) fn steps(checkpoints: &Path) -> Result<Vec<u64>, CheckpointError> {
    let mut steps: Vec<u64> = list(checkpoints)?
        .into_iter()
        .filter_map(|(purpose, step)| (purpose == Purpose::Whole).then_some(step))
        .collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Clears up after a run that was killed: what was being replaced is put back unless its successor is there, the rest removed.
pub(super) fn clear_leftovers(checkpoints: &Path) -> Result<(), CheckpointError> {
    let found = list(checkpoints)?;
    for &(purpose, step) in &found {
        match purpose {
            Purpose::Whole => {}
            Purpose::Replaced if !found.contains(&(Purpose::Whole, step)) => {
                rename(checkpoints, step, Purpose::Replaced, Purpose::Whole)?;
            }
            Purpose::Writing | Purpose::Replaced | Purpose::Deleting => remove(checkpoints, purpose, step)?,
        }
    }
    Ok(())
}

/// Turns the written folder of a step into its checkpoint; one that is there already is replaced.
pub(super) fn put_in_place(checkpoints: &Path, step: u64) -> Result<(), CheckpointError> {
    let replaces = folder(checkpoints, Purpose::Whole, step).exists();
    if replaces {
        rename(checkpoints, step, Purpose::Whole, Purpose::Replaced)?;
    }
    rename(checkpoints, step, Purpose::Writing, Purpose::Whole)?;
    if replaces {
        remove(checkpoints, Purpose::Replaced, step)?;
    }
    Ok(())
}

/// Deletes a checkpoint, in such a way that no half of it ever looks whole.
pub(super) fn delete(checkpoints: &Path, step: u64) -> Result<(), CheckpointError> {
    rename(checkpoints, step, Purpose::Whole, Purpose::Deleting)?;
    remove(checkpoints, Purpose::Deleting, step)
}

fn rename(checkpoints: &Path, step: u64, from: Purpose, to: Purpose) -> Result<(), CheckpointError> {
    let from = folder(checkpoints, from, step);
    fs::rename(&from, folder(checkpoints, to, step)).map_err(CheckpointError::io("rename", &from))?;
    sync(checkpoints)
}

fn remove(checkpoints: &Path, purpose: Purpose, step: u64) -> Result<(), CheckpointError> {
    let path = folder(checkpoints, purpose, step);
    fs::remove_dir_all(&path).map_err(CheckpointError::io("remove", &path))
}

/// Waits until the entries of a folder are on the disk.
pub(super) fn sync(folder: &Path) -> Result<(), CheckpointError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(CheckpointError::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_cleared(before: &[&str], after: &[&str]) {
        let checkpoints = tempfile::tempdir().unwrap();
        for name in before {
            let folder = checkpoints.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("made-as"), name).unwrap();
        }
        clear_leftovers(checkpoints.path()).unwrap();
        let mut left: Vec<String> = fs::read_dir(checkpoints.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let made_as = fs::read_to_string(entry.path().join("made-as")).unwrap();
                format!("{} from {made_as}", entry.file_name().to_str().unwrap())
            })
            .collect();
        left.sort_unstable();
        assert_eq!(left, after);
    }

    #[test]
    fn leftovers_of_every_kind() {
        check_cleared(&["step-3", ".writing-step-4", ".deleting-step-1"], &["step-3 from step-3"]);
        check_cleared(&[".replaced-step-4", ".writing-step-4"], &["step-4 from .replaced-step-4"]);
        check_cleared(&[".replaced-step-4", "step-4"], &["step-4 from step-4"]);
        // Not our names, not our business.
        check_cleared(
            &["notes", "step-x", ".writing-step-x"],
            &[".writing-step-x from .writing-step-x", "notes from notes", "step-x from step-x"],
        );
    }

    #[test]
    fn only_names_that_we_write_are_steps() {
        let checkpoints = tempfile::tempdir().unwrap();
        for name in
            ["step-10", "step-9", "step-007", "step-+1", "step--1", "step-", "xstep-1", ".deleting-step-2"]
        {
            fs::create_dir(checkpoints.path().join(name)).unwrap();
        }
        assert_eq!(steps(checkpoints.path()).unwrap(), [9, 10]);
        assert_eq!(steps(&checkpoints.path().join("none")).unwrap(), [0; 0]);
    }
}

//! What can go wrong with checkpoints, and what can be wrong with one.

use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another run works in the folder.
    #[error(
        "another run is writing to {}: stop it, wait for it, or choose another folder with --out",
        run.display()
    )]
    InUse {
        /// The run folder.
        run: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A tensor that cannot be stored.
    #[error("the tensor {name} cannot be written to {}: {problem}", path.display())]
    Tensor {
        /// The file meant for it.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// The caller's state does not survive JSON, or is not what the program expects.
    #[error("the state in {} cannot be restored: {problem}", path.display())]
    State {
        /// Its `state.json`.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// Intact, but made by a program that writes another format.
    #[error(
        "{} has format {found}, this program reads format {supported}: use the version of the program that made it",
        path.display()
    )]
    Format {
        /// Its `state.json`.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The format read.
        supported: u32,
    },
    /// A file is not as it was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// There are checkpoints, and all are damaged.
    #[error(
        "no checkpoint in {} is intact: {}; restore one from a copy, or remove the folder to start afresh",
        folder.display(),
        damaged.iter().map(Damaged::to_string).collect::<Vec<_>>().join("; ")
    )]
    NoneIntact {
        /// The folder of all checkpoints.
        folder: PathBuf,
        /// What is wrong with each, newest first.
        damaged: Vec<Damaged>,
    },
}

impl CheckpointError {
    /// For `map_err`: an error of the system while doing `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// A file of a checkpoint that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged: {damage}", file.display())]
pub struct Damaged {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong with a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not exist, or is no plain file.
    #[error("it is missing")]
    Missing,
    /// Cut short, or grown.
    #[error("it has {found} bytes, not {expected}")]
    Size {
        /// Bytes when written.
        expected: u64,
        /// Bytes now.
        found: u64,
    },
    /// Bytes have changed.
    #[error("its checksum does not match")]
    Checksum,
    /// The checksum is right, but what it covers makes no sense: not written by this program.
    #[error("{problem}")]
    Content {
        /// What makes no sense.
        problem: String,
    },
}

//! What the file system must promise: locks, room, and that what was renamed is really there.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::HumanBytes;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Held while a folder is being changed; freed when dropped, and by the system when the process dies.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock that is the file `path`, made if missing; waits, saying so, while another holds it.
    ///
    /// # Errors
    /// When the file cannot be made or the file system has no locks.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let taken = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                eprintln!("another command works in this folder; waiting for it to end");
                rustix::fs::flock(&file, FlockOperation::LockExclusive)
            }
            other => other,
        };
        taken.with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Free space, in bytes, for an ordinary user on the file system of `path`.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn free_bytes(path: &Path) -> Result<u64> {
    let status = rustix::fs::statvfs(path)
        .with_context(|| format!("cannot see the free space of {}", path.display()))?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Checks that `needed` bytes are free on the file system of `path`.
///
/// # Errors
/// When they are not.
pub(crate) fn require_free(path: &Path, needed: u64) -> Result<()> {
    let free = free_bytes(path)?;
    if free < needed {
        bail!(
            "{} are needed and {} are free in {}: make room, or put the checkout on a larger disk",
            HumanBytes(needed),
            HumanBytes(free),
            path.display()
        );
    }
    Ok(())
}

/// Puts the finished folder or file `from` in the place of `to`, on the same file system, so that a loss of
/// power leaves either all of it or nothing there.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("the target lies in a folder")?;
    sync_all_below(from)?;
    fs::rename(from, to).with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    File::open(parent).and_then(|folder| folder.sync_all()).context("cannot sync a folder")
}

/// One call for the whole file system: a libtorch has thousands of headers.
#[cfg(target_os = "linux")]
fn sync_all_below(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    rustix::fs::syncfs(&file).with_context(|| format!("cannot sync {}", path.display()))
}

#[cfg(not(target_os = "linux"))]
fn sync_all_below(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_all_below(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all().with_context(|| format!("cannot sync {}", path.display()))
}

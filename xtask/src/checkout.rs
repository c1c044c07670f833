//! Where things lie in a checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders and files of one checkout that xtask works with.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was started from.
    ///
    /// # Errors
    /// When `CARGO_MANIFEST_DIR` names the root of the file system.
    pub(crate) fn find() -> Result<Self> {
        // Set by `cargo run`; the value at compile time serves a program started by hand.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("CARGO_MANIFEST_DIR must lie in a checkout")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Version and wheels of libtorch.
    pub(crate) fn pins(&self) -> PathBuf {
        self.root.join("libtorch.toml")
    }

    /// Private copies, downloads, the lock and the link all lie here.
    pub(crate) fn libtorch_store(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The link to the libtorch in use; `.cargo/config.toml` names it too.
    pub(crate) fn current_libtorch(&self) -> PathBuf {
        self.libtorch_store().join("current")
    }
}

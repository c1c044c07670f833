//! `cargo xtask pretrain`: everything between a fresh clone and `d2v pretrain`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::{child, setup};

/// Sets up, builds, and becomes `d2v pretrain` with the same arguments.
///
/// This process is replaced, so exit code and signals are those of `d2v`.
///
/// # Errors
/// When something is missing or `d2v` does not build.
pub(crate) fn run(checkout: &Checkout, arguments: &[OsString]) -> Result<ExitCode> {
    setup::ensure_libtorch(checkout)?;
    let d2v = child::build_d2v(checkout)?;
    let error = Command::new(&d2v).arg("pretrain").args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", d2v.display()))
}

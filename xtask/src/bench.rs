//! `cargo xtask bench`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{child, setup};

/// Runs the criterion benchmarks of the crate `benches`; the arguments are those of `cargo bench`.
///
/// # Errors
/// When set-up fails or cargo cannot be started.
pub(crate) fn run(checkout: &Checkout, arguments: &[OsString]) -> Result<ExitCode> {
    setup::ensure_libtorch(checkout)?;
    let status =
        child::run(child::cargo(checkout).args(["bench", "--package", "d2v-benches"]).args(arguments))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

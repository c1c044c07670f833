//! `cargo xtask ci`: one command for a laptop and for continuous integration.

use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{lint, test};

/// All checks, the cheapest first.
///
/// # Errors
/// When a tool cannot be started.
pub(crate) fn run(checkout: &Checkout) -> Result<ExitCode> {
    let lints = lint::run(checkout)?;
    let tests = test::run(checkout, &[])?;
    Ok(if lints == ExitCode::SUCCESS { tests } else { lints })
}

//! `d2v doctor`: what this machine can do.

use super::output::{print, print_json};
use crate::doctor::{Facts, findings};
use crate::exit::Exit;
use clap::Args as ClapArgs;

/// Arguments of `d2v doctor`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v doctor
  d2v doctor --quick          without measuring
  d2v doctor --json           for a report of a problem

Lines that start with !! name a problem and, below, what to do. The exit code is 0 either way: where this program runs,
it can train.")]
pub struct Args {
    /// Leaves the measurements out, which take a few seconds.
    #[arg(long)]
    pub quick: bool,
    /// All facts and findings as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Prints what was found.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let facts = Facts::gather(!args.quick);
    let findings = findings(&facts);
    if args.json {
        print_json(&serde_json::json!({ "facts": facts, "findings": findings }))?;
    } else {
        print(&findings.iter().map(|finding| finding.line()).collect::<String>())?;
    }
    Ok(Exit::Done)
}

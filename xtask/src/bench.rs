//! `cargo xtask bench`: criterion for each part, the whole step beside PyTorch, and how the step grows.

mod columns;
mod comparison;
mod growth;
mod measured;
mod peer;
mod python;
mod scale;
mod workload;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory};

use crate::checkout::Checkout;
use crate::{child, disk, setup};

use workload::{Case, Precision};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("whole step").args(["peer", "scale"]))]
#[command(after_help = "Examples:
  cargo xtask bench                                     every benchmark of a part
  cargo xtask bench --bench masks                       one of them
  cargo xtask bench --bench masks -- --save-baseline before
  cargo xtask bench --bench masks -- --baseline before  compare with what was saved

  cargo xtask bench --peer                              Base beside PyTorch on the CPU: 10 minutes
  cargo xtask bench --peer --python venv/bin/python --impl lean,hf --compile --json peer.json
  cargo xtask bench --peer --size tiny --cases image --rounds 1
  cargo xtask bench --peer --device cuda --precision bf16 --batch image=128,speech=64,text=64

  cargo xtask bench --scale                             tokens, batch, width, depth: a few minutes
  cargo xtask bench --scale --cases text --json scale.json")]
pub(crate) struct Arguments {
    /// Time the whole step beside the same step in PyTorch, in turn.
    #[arg(long)]
    pub(crate) peer: bool,
    /// Show how time and memory of the step grow beside the count of its operations.
    #[arg(long)]
    pub(crate) scale: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    #[command(flatten)]
    pub(crate) peer_arguments: peer::Arguments,
    /// Arguments of `cargo bench`, where neither --peer nor --scale is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

/// What is measured and where: of --peer and of --scale.
#[derive(clap::Args)]
#[command(next_help_heading = "With --peer or --scale")]
pub(crate) struct MachineArguments {
    /// Which networks.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASES", requires = "whole step")]
    #[arg(default_value = "image,speech,text")]
    cases: Vec<Case>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", requires = "whole step")]
    device: String,
    /// Kind of the matrix products.
    #[arg(long, value_enum, default_value = "f32", requires = "whole step")]
    precision: Precision,
    /// Threads of each program; without it, as many as libtorch takes by itself.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "whole step")]
    threads: Option<u32>,
    /// Write all that was measured to this file as JSON.
    #[arg(long, value_name = "FILE", requires = "whole step")]
    json: Option<PathBuf>,
    /// A program `d2v` that is measured instead of the one that this checkout builds.
    #[arg(long, value_name = "PROGRAM", requires = "whole step")]
    d2v: Option<PathBuf>,
}

/// Runs the criterion benchmarks of the crate `benches`, the comparison, or the growth.
///
/// # Errors
/// When set-up or build fails, a program cannot be started, or d2v itself fails; a peer that fails is part of
/// the result.
pub(crate) fn run(checkout: &Checkout, arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.peer && !arguments.scale {
        setup::ensure_libtorch(checkout)?;
        let mut command = child::cargo(checkout);
        command.args(["bench", "--package", "d2v-benches"]).args(&arguments.arguments);
        let status = child::run(&mut command)?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(unknown) = arguments.arguments.first() {
        let message = format!("`{}` is no argument of --peer or --scale\n", unknown.display());
        crate::Arguments::command().error(ErrorKind::UnknownArgument, message).exit();
    }
    if arguments.peer {
        peer::run(checkout, &arguments.machine, &arguments.peer_arguments)
    } else {
        scale::run(checkout, &arguments.machine)
    }
}

/// The program `d2v` that is measured.
fn program(checkout: &Checkout, machine: &MachineArguments) -> Result<PathBuf> {
    if let Some(program) = &machine.d2v {
        return fs::canonicalize(program).with_context(|| format!("--d2v {}", program.display()));
    }
    setup::ensure_libtorch(checkout)?;
    child::build_d2v(checkout)
}

/// Writes `value` to the file of --json, if there is one, so that it is always whole.
fn write_json(path: Option<&Path>, value: &impl serde::Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(&partial, text).with_context(|| format!("cannot write {}", partial.display()))?;
    disk::publish(Path::new(&partial), path)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).map(|line| line.bench)
    }

    #[test]
    fn what_is_not_ours_goes_to_cargo_as_it_is() {
        for line in ["", "--bench masks", "--bench masks -- --save-baseline before", "-p x --json y"] {
            let arguments = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(!arguments.peer && !arguments.scale, "{line}");
            let text: Vec<_> = arguments.arguments.iter().map(|word| word.to_string_lossy()).collect();
            assert_eq!(text.join(" "), line);
        }
    }

    #[test]
    fn options_of_a_mode_need_it() {
        for line in ["--peer --scale", "--rounds 3", "--scale --rounds 3", "--json x", "--peer --rounds 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
        let arguments = parse("--peer --cases text,image --impl hf,lean --compile --batch text=2").unwrap();
        assert_eq!(arguments.machine.cases, [Case::Text, Case::Image]);
        assert!(parse("--scale --cases speech").unwrap().scale);
    }
}

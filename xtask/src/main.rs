//! `cargo xtask`: from a bare machine to a training run, and the checks that every change must pass.
//!
//! Reading order: [`setup`] (where libtorch comes from), [`pretrain`], then any command; each has its file.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

mod setup;

mod checkout;
mod installed;
mod pinned;
mod pip;
mod unpack;

mod pretrain;

mod bench;
mod ci;
mod doctor;
mod examples;
mod lint;
mod test;

mod cifar;
mod data;
mod fetch;

mod checksum;
mod child;
mod disk;
mod progress;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::checkout::Checkout;

/// Developer commands of data2vec in Rust.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
#[command(after_help = "Examples:
  cargo xtask pretrain                 set up, build, and learn from the built-in pictures
  cargo xtask pretrain --data photos   the same from your own pictures
  cargo xtask test                     run every test
  cargo xtask doctor                   say what is missing on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or fetch libtorch; the other commands do this when needed.
    ///
    /// Takes the folder that LIBTORCH names; else, with LIBTORCH_USE_PYTORCH set, the PyTorch of your
    /// Python; else makes a private copy below `.libtorch` from the Python package index, with pip.
    /// Does nothing when all is there, and can be stopped and run again at any moment.
    #[command(after_help = "Examples:
  cargo xtask setup                                   private copy, CPU part (0.5 GB to fetch)
  cargo xtask setup --cuda                            private copy, CUDA too (2.3 GB to fetch)
  LIBTORCH=/opt/libtorch cargo xtask setup            a libtorch of your own
  LIBTORCH_USE_PYTORCH=1 cargo xtask setup            the PyTorch of your Python environment")]
    Setup {
        /// Fetch libtorch with CUDA. A program built with either part runs with the other.
        #[arg(long)]
        cuda: bool,
    },
    /// Say what was found on this machine, and what to do about each problem.
    #[command(after_help = "Examples:
  cargo xtask doctor           everything, with `d2v doctor` (built if need be)
  cargo xtask doctor --quick   without building anything")]
    Doctor {
        /// Do not build and run `d2v doctor`.
        #[arg(long)]
        quick: bool,
    },
    /// Build `d2v` and pretrain; all arguments go to `d2v pretrain` as they are.
    #[command(disable_help_flag = true)]
    Pretrain {
        /// Arguments of `d2v pretrain`; --help lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Run the tests; arguments go to `cargo test`. Without any, the examples of the crates without libtorch too.
    #[command(after_help = "Examples:
  cargo xtask test                             every test of every crate
  cargo xtask test -p d2v-masking              the tests of one crate
  cargo xtask test -p d2v-train -- resume      the tests whose name contains `resume`
  PROPTEST_CASES=10000 cargo xtask test        every law on 10,000 cases instead of 24 to 256")]
    Test {
        /// Arguments of `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Run the benchmarks of each part, or time the whole step: beside PyTorch, or as it grows.
    Bench(Box<bench::Arguments>),
    /// Check formatting, lints, documentation, licences and packages.
    #[command(after_help = "Example:
  cargo xtask lint     all checks; goes on after a failure and lists them at the end")]
    Lint,
    /// What continuous integration runs: `lint`, then `test`.
    #[command(after_help = "Example:
  cargo xtask ci")]
    Ci,
    /// Fetch a public data set from the address its authors published.
    #[command(after_help = "Examples:
  cargo xtask data                             list what can be fetched
  cargo xtask data fashion-mnist               into data/fashion-mnist
  cargo xtask data cifar10 --dir /scratch/c10  elsewhere
A fetch that was cut off goes on where it stopped; every file is checked against its SHA-256.")]
    Data {
        /// Name of the data set; none lists them.
        name: Option<String>,
        /// Folder to put it in [default: data/NAME in the checkout]
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let checkout = Checkout::find()?;
    match command {
        Command::Setup { cuda } => setup::run(&checkout, cuda),
        Command::Doctor { quick } => doctor::run(&checkout, quick),
        Command::Pretrain { arguments } => pretrain::run(&checkout, &arguments),
        Command::Test { arguments } => test::run(&checkout, &arguments),
        Command::Bench(arguments) => bench::run(&checkout, &arguments),
        Command::Lint => lint::run(&checkout),
        Command::Ci => ci::run(&checkout),
        Command::Data { name, dir } => data::run(&checkout, name.as_deref(), dir),
    }
}

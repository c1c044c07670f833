//! The program `d2v`: arguments in, exit code out.

use anyhow::Context;
use clap::{Parser, Subcommand};
use d2v_train::commands::{
    bench_ceiling, bench_step, doctor, embed, export, gpu_check, import, inspect, masks, pretrain, probe,
    report, tokenizer,
};
use d2v_train::exit::Exit;
use d2v_train::progress::Console;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Pretrains data2vec: a student predicts, at masked positions, what a moving average of itself makes of the whole
/// input.
#[derive(Debug, Parser)]
#[command(name = "d2v", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  d2v pretrain                                       the tiny recipe on built-in pictures
  d2v pretrain --data ~/pictures --out runs/mine     your own; the same command again goes on
  d2v probe --run runs/mine                          what its features are worth, beside an untrained network's
  d2v inspect --config configs/image-base.toml       parameters, arithmetic, memory
  d2v masks --image cat.jpg --png masks.png          what the student sees
  d2v import --format hf facebook/ --out runs/base   published weights as a starting point
  d2v doctor                                         what this machine can do

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 data, 4 diverged or collapsed, 130/143 on signals.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train, or go on with the run in --out.
    Pretrain(pretrain::Args),
    /// Show what is hidden of pictures, sounds and text, in the terminal or as a picture.
    Masks(masks::Args),
    /// Say how much of the labels can be read from what runs have learnt, beside the same networks untrained.
    Probe(probe::Args),
    /// Write features of a run to a file.
    Embed(embed::Args),
    /// Write a network of a run for other libraries.
    Export(export::Args),
    /// Make published weights a starting point: for probe, embed, inspect, and pretrain --init.
    Import(import::Args),
    /// Show configuration, parameters, arithmetic and memory of a configuration or a checkpoint.
    Inspect(inspect::Args),
    /// Learn units of text.
    Tokenizer(tokenizer::Args),
    /// Write a run's report.html again.
    Report(report::Args),
    /// Say what this machine can do, and what to do about each problem.
    Doctor(doctor::Args),
    /// Time a training step, comparable with the same step in PyTorch.
    BenchStep(bench_step::Args),
    /// Measure what a device can do at most: a large matrix product and a large copy.
    BenchCeiling(bench_ceiling::Args),
    /// Check and time everything on a CUDA device, in one go.
    GpuCheck(gpu_check::Args),
}

fn main() -> ExitCode {
    d2v_train::openmp::wait_without_spinning();
    let arguments = Arguments::parse();
    let console = Console::stderr();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_ansi(console.is_terminal())
        .with_writer(console.clone())
        .init();
    d2v_torch::cpu_memory::cache();
    let result = match arguments.command {
        Command::Pretrain(args) => pretrain::run(&args, &console),
        Command::Masks(args) => masks::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Tokenizer(args) => tokenizer::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::BenchStep(args) => bench_step::run(&args),
        Command::BenchCeiling(args) => bench_ceiling::run(&args),
        Command::GpuCheck(args) => gpu_check::run(&args),
    };
    match result.context("d2v") {
        Ok(exit) => exit.into(),
        Err(error) => {
            tracing::error!("{error:#}");
            Exit::of(&error).into()
        }
    }
}

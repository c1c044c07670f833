//! `d2v pretrain`.

use super::recipe::RecipeArgs;
use crate::exit::Exit;
use crate::progress::Console;
use crate::report::write_report;
use crate::run::{Finish, Run};
use crate::signals::Signals;
use anyhow::Context;
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Arguments of `d2v pretrain`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to train.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The run's folder; a run that is there goes on.
    #[arg(long, value_name = "DIR", default_value = "runs/image-tiny")]
    pub out: PathBuf,
    /// Start from the weights of this run (such as `d2v import` makes) or checkpoint; only read when the run begins.
    #[arg(long, value_name = "DIR")]
    pub init: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  d2v pretrain
  d2v pretrain --data ~/pictures --out runs/mine
  d2v pretrain --config configs/image-base.toml --data /data/imagenet --device cuda --out runs/base
  d2v pretrain --steps 200 --set checkpoint.every_steps=50 --set seed=1 --out runs/short
  d2v pretrain --config runs/imported/config.toml --init runs/imported --data pictures/ --out runs/further
  d2v pretrain --set teacher.tau.start=1 --set teacher.tau.end=1 --out runs/control    a teacher that never moves

In --out: config.toml, metrics.jsonl, TensorBoard events, checkpoints/step-N, report.html. Ctrl-C finishes the step,
saves and ends; the same command again goes on from there.";

/// Trains.
///
/// # Errors
/// If the configuration, the data or the folder cannot be used.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Exit> {
    let mut config = args.recipe.load()?;
    if let Some(init) = &args.init {
        // The run's own record: it must mean the same from any working directory.
        config.init = Some(std::path::absolute(init).with_context(|| format!("--init {}", init.display()))?);
    }
    let signals = Signals::install()?;
    let mut run = Run::open(&config, &args.out, console)?;
    let (done, steps) = run.steps();
    if done >= steps {
        tracing::info!("the run in {} has all its {steps} updates; nothing to do", args.out.display());
    }
    let finish = run.train(Some(&signals))?;
    let report = write_report(&args.out, &super::report::extras(&args.out)?)?;
    let exit = match finish {
        Finish::Done => Exit::Done,
        Finish::Stopped(signal) => {
            tracing::info!("{signal}: saved at step {}; the same command goes on from there", run.steps().0);
            Exit::Signal(signal)
        }
        Finish::Collapsed(verdict) => {
            tracing::error!("stopped, as configured (collapse.stop): {verdict}");
            Exit::Diverged
        }
        Finish::Diverged { in_a_row, batches } => {
            tracing::error!(
                "stopped: {in_a_row} updates in a row had a loss or gradient that is not finite; their batches are in \
                 {}. Lower learning_rate.peak_lr or lengthen its warm-up",
                batches.display()
            );
            Exit::Diverged
        }
    };
    tracing::info!("report: {}", report.display());
    Ok(exit)
}

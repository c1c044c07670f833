//! `d2v pretrain`.

use super::recipe::RecipeArgs;
use crate::Error;
use crate::evaluate;
use crate::evaluate::of_run::probe_at_end;
use crate::evaluate::record::PROBE_FILE;
use crate::exit::Exit;
use crate::progress::Console;
use crate::report::write_report;
use crate::run::{Finish, Run};
use crate::signals::Signals;
use anyhow::Context;
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};

/// Arguments of `d2v pretrain`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to train.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The run's folder; a run that is there goes on. Without it, runs/CONFIG or, with --data, runs/CONFIG-DATA, after the
    /// names of both.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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

In --out: config.toml, metrics.jsonl, TensorBoard events, checkpoints/step-N, report.html, and probe.json where the data
has labels. Ctrl-C finishes the step,
saves and ends; the same command again goes on from there.";

/// Probes a finished run for its report; one that was finished before only if that is still missing.
///
/// A run is done without it: what stands in its way is told, and the exit code stays.
fn probe(out: &Path, device: &str, trained: bool) -> anyhow::Result<()> {
    if !trained && out.join(PROBE_FILE).exists() {
        return Ok(());
    }
    tracing::info!(
        "done and saved; a small probe for the report follows (train.probe_at_end=false leaves it out)"
    );
    let probed = d2v_torch::cuda::device(device).map_err(Error::from);
    match probed.and_then(|device| probe_at_end(out, device)) {
        Ok(record) => record.save(out)?,
        Err(Error::Evaluate(evaluate::Error::Empty { .. } | evaluate::Error::OneClass { .. })) => {
            tracing::info!(
                "no probe: the data has no labels to tell apart; `d2v probe --data` takes other data"
            );
        }
        Err(error) => tracing::warn!("no probe: {:#}", anyhow::Error::from(error)),
    }
    Ok(())
}

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
    let out = args.out.clone().unwrap_or_else(|| args.recipe.default_out());
    let mut run = Run::open(&config, &out, console)?;
    let (done, steps) = run.steps();
    if done >= steps {
        tracing::info!("the run in {} has all its {steps} updates; nothing to do", out.display());
    }
    let finish = run.train(Some(&signals))?;
    if matches!(finish, Finish::Done) && config.train.probe_at_end && signals.requested().is_none() {
        probe(&out, &config.device, done < steps)?;
    }
    let report = write_report(&out, &super::report::extras(&out)?)?;
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

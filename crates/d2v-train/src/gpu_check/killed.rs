//! A run of this very program, killed and started again: the same bits as a run that nobody touched.

use anyhow::{Context, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tch::Device;

/// Updates of each run, between checkpoints, and before the kill at least.
const STEPS: u64 = 60;
const CHECKPOINT_EVERY: u64 = 10;
const KILL_AFTER: u64 = 20;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Killed {
    /// The newest checkpoint when the run was killed.
    pub killed_behind_step: u64,
    /// Updates in all.
    pub steps: u64,
    /// Files of the last checkpoint that differ.
    pub different: Vec<String>,
}

impl Killed {
    /// Whether both runs ended with the same student, teacher and optimizer.
    pub fn passed(&self) -> bool {
        self.different.is_empty()
    }
}

/// Trains the tiny picture recipe by `program` (a `d2v`) twice on `device`, one of the runs killed on its way.
///
/// # Errors
/// If a run fails or is not done by `deadline`.
pub fn check(program: &Path, device: Device, deadline: Instant) -> anyhow::Result<Killed> {
    let folder = tempfile::tempdir()?;
    let (straight, killed) = (folder.path().join("straight"), folder.path().join("killed"));
    finish(start(program, device, &straight)?, deadline)?;

    let mut running = Running(start(program, device, &killed)?);
    let wanted = checkpoint(&killed, KILL_AFTER);
    while !wanted.exists() {
        if running.0.try_wait()?.is_some() {
            bail!("the run ended before it was killed");
        }
        wait(deadline)?;
    }
    drop(running);
    let killed_behind_step =
        (1..=STEPS).rev().find(|&step| checkpoint(&killed, step).exists()).context("no checkpoint")?;
    finish(start(program, device, &killed)?, deadline)?;

    let mut different = Vec::new();
    for part in ["student", "teacher", "optimizer"] {
        let file = format!("{part}.safetensors");
        let read = |run: &Path| std::fs::read(checkpoint(run, STEPS).join(&file));
        if read(&straight)? != read(&killed)? {
            different.push(file);
        }
    }
    Ok(Killed { killed_behind_step, steps: STEPS, different })
}

fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step}"))
}

fn start(program: &Path, device: Device, out: &Path) -> anyhow::Result<Child> {
    let device = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    let settings = [
        format!("checkpoint.every_steps={CHECKPOINT_EVERY}"),
        "checkpoint.keep_last=10".to_owned(),
        "train.batch_size=8".to_owned(),
    ];
    let mut command = Command::new(program);
    command.arg("pretrain").args(["--device", &device]).args(["--steps", &STEPS.to_string()]);
    command.arg("--out").arg(out).args(settings.iter().flat_map(|setting| ["--set", setting]));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Ends the program when dropped, by a signal that it cannot catch.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the program has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn finish(child: Child, deadline: Instant) -> anyhow::Result<()> {
    let mut running = Running(child);
    loop {
        if let Some(status) = running.0.try_wait()? {
            return if status.success() { Ok(()) } else { bail!("a run ended with {status}") };
        }
        wait(deadline)?;
    }
}

fn wait(deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() >= deadline {
        bail!("not done in the time that was left");
    }
    std::thread::sleep(POLL);
    Ok(())
}

//! `d2v gpu-check`: check and time everything on a CUDA device, in one go.

use super::output::{print, table};
use crate::exit::Exit;
use crate::gpu_check::agreement::Agreement;
use crate::gpu_check::golden::GoldenCheck;
use crate::gpu_check::part::Outcome;
use crate::gpu_check::peer::Peer;
use crate::gpu_check::speed::Series;
use crate::gpu_check::{GpuCheck, Plan, check, write};
use crate::human_numbers::{flops_rate, percent};
use crate::step_timing::StepTiming;
use anyhow::Context;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `d2v gpu-check`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// cuda, cuda:N, or cpu for a rehearsal in small sizes.
    #[arg(long, default_value = "cuda")]
    pub device: String,
    /// Time for everything; parts that find none left are skipped and said so.
    #[arg(long, value_name = "M", default_value_t = 8.5, value_parser = minutes)]
    pub minutes: f64,
    /// Folder for gpu-check.json.
    #[arg(long, value_name = "DIR", default_value = "runs/gpu-check")]
    pub out: PathBuf,
    /// A Python with PyTorch for the device, to time the same step there.
    #[arg(long, value_name = "PATH", requires = "peer")]
    pub python: Option<PathBuf>,
    /// The program that times the step in PyTorch.
    #[arg(long, value_name = "SCRIPT", requires = "python")]
    pub peer: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  d2v gpu-check --device cpu        a rehearsal
  LD_LIBRARY_PATH=$(python3 -c 'import torch,os;print(os.path.join(os.path.dirname(torch.__file__),\"lib\"))') \\
    d2v gpu-check --python python3 --peer torch_step.py

Needs this program and, in a Python, a PyTorch with CUDA of the version that this program was built with; no cargo.
It checks the published network's numbers in f32 and bf16, the step of each modality beside the CPU's, that a run goes on
from a checkpoint and after a kill bit for bit, and that memory does not grow over 1,000 steps; it times the Base step of
pictures, speech (5 s) and text (512 tokens) in bf16, TF32 and f32 at growing batch sizes, against the rate of large matrix
products and, where asked for, against the same step in PyTorch, as it is and compiled.

Exit codes: 0 all well, 1 something is not (see the table and gpu-check.json), 2 the device cannot be used.";

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 24.0 * 60.0 => Ok(minutes),
        _ => Err("must be above 0 and at most 1440".into()),
    }
}

/// Checks and times.
///
/// # Errors
/// If the device cannot be used or the result not written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let device = d2v_torch::cuda::device(&args.device).context(Exit::Usage)?;
    let peer = args.python.clone().zip(args.peer.clone()).map(|(python, script)| Peer { python, script });
    let limit = Duration::from_secs_f64(args.minutes * 60.0);
    let say = |part: &str| tracing::info!("{part}");
    let plan = Plan { program: std::env::current_exe().ok(), ..Plan::of(device) };
    let result = check(device, &plan, limit, peer.as_ref(), &say);
    print(&text(&result))?;
    let path =
        write(&result, &args.out).with_context(|| format!("cannot write to {}", args.out.display()))?;
    tracing::info!("result: {}", path.display());
    Ok(if result.passed { Exit::Done } else { Exit::Failed })
}

fn text(check: &GpuCheck) -> String {
    let mut rows = vec![row("machine", &check.facts, |facts| {
        format!("libtorch {}, {}", facts.libtorch, facts.processor)
    })];
    let one = |check: &GoldenCheck| {
        let worst = check.worst().map_or_else(String::new, |worst| {
            format!(" ({}: {:.1e} of {:.1e} allowed)", worst.name, worst.off, worst.allowed)
        });
        format!("{} {}{worst}", check.precision.name(), if check.passed() { "ok" } else { "WRONG" })
    };
    let list = |checks: &[GoldenCheck]| checks.iter().map(one).collect::<Vec<_>>().join("; ");
    rows.push(row("numbers", &check.golden, |checks| list(checks)));
    rows.push(row("as CPU", &check.agreement, |all| {
        let one = |one: &Agreement| format!("{} {}", one.modality.name(), list(&one.checks));
        all.iter().map(one).collect::<Vec<_>>().join("; ")
    }));
    rows.push(row("resume", &check.resume, |resume| match resume.identical {
        true => format!("the same bits after {} updates", resume.steps),
        false => format!("DIFFERENT: {}", resume.different.join(", ")),
    }));
    rows.push(row("kill", &check.killed, |killed| match killed.passed() {
        true => format!("the same bits after a kill behind step {}", killed.killed_behind_step),
        false => format!("DIFFERENT: {}", killed.different.join(", ")),
    }));
    rows.push(row("memory", &check.endurance, |seen| {
        let mib = |bytes: Option<i64>| {
            bytes.map_or("?".into(), |bytes| format!("{:+.1} MiB", bytes as f64 / 1_048_576.0))
        };
        let device = seen
            .device_growth_bytes
            .map_or(String::new(), |_| format!(", device {}", mib(seen.device_growth_bytes)));
        let verdict = if seen.passed() { "" } else { "NOT WELL: " };
        format!(
            "{verdict}process {}{device} over {} of {} steps",
            mib(seen.host_growth_bytes),
            seen.steps,
            seen.steps_planned
        )
    }));
    rows.push(row("speed", &check.speed, |series| format!("{} series, below", series.len())));
    rows.push(row("peer", &check.peer, |runs| format!("{} runs, below", runs.len())));
    let verdict = if check.passed { "all well" } else { "NOT all well" };
    let mut text = format!("{}: {verdict}, {:.0} s\n\n", check.device, check.seconds);
    for [name, state] in rows {
        text += &format!("{name:<8} {state}\n");
    }
    if let Some(series) = check.speed.done() {
        text += &speed_text(series);
    }
    if let Some(runs) = check.peer.done() {
        let rows: Vec<Vec<String>> = runs
            .iter()
            .map(|run| {
                let time = run.result.as_ref().and_then(|result| result["ms_per_step"].as_f64());
                let name = format!(
                    "PyTorch {} {}{}",
                    run.modality.name(),
                    run.precision.name(),
                    if run.compiled { ", compiled" } else { "" }
                );
                let speedup = run.speedup.map_or("-".into(), |times| format!("{times:.2}"));
                let time =
                    time.map_or_else(|| run.error.clone().unwrap_or_default(), |time| format!("{time:.1}"));
                vec![name, run.batch.to_string(), time, speedup]
            })
            .collect();
        text += &format!("\n{}", table(&["peer", "batch", "ms/step", "its time / ours"], &rows));
    }
    text
}

/// A part's line: what it found, or why there is nothing.
fn row<T>(name: &'static str, outcome: &Outcome<T>, found: impl FnOnce(&T) -> String) -> [String; 2] {
    let state = match outcome {
        Outcome::Done { result, .. } => found(result),
        Outcome::Failed { error } => format!("FAILED: {error}"),
        Outcome::Skipped { why } => format!("skipped: {why}"),
    };
    [name.to_owned(), state]
}

fn speed_text(series: &[Series]) -> String {
    let row = |series: &Series, timing: &StepTiming, note: &str| {
        vec![
            format!("{} {}{note}", series.modality.name(), series.precision.name()),
            timing.batch.to_string(),
            format!("{:.1}", timing.ms_per_step),
            format!("{:.1}", timing.samples_per_s),
            format!("{:.3}", timing.tflops),
            percent(series.share_of_ceiling(timing)),
            timing.peak_mib.to_string(),
        ]
    };
    let mut rows = Vec::new();
    for one in series {
        rows.extend(one.timings.iter().map(|timing| row(one, timing, "")));
        rows.extend(one.deterministic.iter().map(|timing| row(one, timing, ", deterministic")));
    }
    let headers = ["step", "batch", "ms/step", "samples/s", "TFLOP/s", "of ceiling", "peak MiB"];
    let mut text = format!("\n{}", table(&headers, &rows));
    for one in series {
        let Some(best) = one.best() else { continue };
        let sum: f64 = one.parts_ms.iter().map(|(_, time)| time).sum();
        let parts =
            one.parts_ms.iter().map(|(part, time)| format!("{} {}", part.name(), percent(time / sum)));
        let parts = parts.collect::<Vec<_>>().join(", ");
        let queued = one.queued_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms queued"));
        text += &format!(
            "{} {}: large products {}; batch {}{queued}: {parts}\n",
            one.modality.name(),
            one.precision.name(),
            flops_rate(one.ceiling_tflops),
            best.batch
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_check::endurance::Endurance;
    use crate::gpu_check::killed::Killed;
    use crate::gpu_check::resume::Resume;

    #[test]
    fn what_is_wrong_stands_out_in_the_table() {
        let done = |identical| {
            let different = if identical { vec![] } else { vec!["student head.0.weight".into()] };
            Outcome::Done { seconds: 1.0, result: Resume { steps: 8, identical, different } }
        };
        let result = |identical| GpuCheck {
            device: "a card".into(),
            seconds: 12.0,
            passed: identical,
            facts: Outcome::Failed { error: "no word".into() },
            golden: Outcome::Done { seconds: 1.0, result: vec![] },
            agreement: Outcome::Done { seconds: 1.0, result: vec![] },
            resume: done(identical),
            killed: Outcome::Done {
                seconds: 1.0,
                result: Killed { killed_behind_step: 20, steps: 60, different: vec![] },
            },
            endurance: Outcome::Done {
                seconds: 1.0,
                result: Endurance {
                    steps_planned: 9,
                    steps: 9,
                    host_growth_bytes: Some(1 << 20),
                    device_growth_bytes: Some(0),
                },
            },
            speed: Outcome::Done { seconds: 1.0, result: vec![] },
            peer: Outcome::Skipped { why: "not asked for".into() },
        };
        let good = text(&result(true));
        for expected in
            ["a card: all well", "+1.0 MiB", "device +0.0 MiB", "skipped: not asked for", "FAILED: no word"]
        {
            assert!(good.contains(expected), "{expected} is missing in\n{good}");
        }
        let bad = text(&result(false));
        assert!(bad.contains("NOT all well") && bad.contains("DIFFERENT: student head.0.weight"), "{bad}");
    }

    #[test]
    fn a_device_that_is_not_there_is_usage() {
        let args =
            Args { device: "cuda:99".into(), minutes: 1.0, out: "/nowhere".into(), python: None, peer: None };
        assert_eq!(Exit::of(&run(&args).unwrap_err()), Exit::Usage);
        assert!(minutes("0").is_err() && minutes("nan").is_err() && minutes("9").is_ok());
    }
}

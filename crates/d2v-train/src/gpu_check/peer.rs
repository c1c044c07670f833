//! The same step in PyTorch, run by Python, at the batch sizes that were fastest here.

use super::speed::Series;
use crate::config::Precision;
use crate::recipes::Modality;
use crate::step_timing::StepTiming;
use anyhow::{Context, bail};
use d2v_transformer::Size;
use serde::Serialize;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::Device;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a failed program's messages that are kept.
const KEPT_LINES: usize = 5;

/// Python, and the program to run in it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// A Python with PyTorch for the device.
    pub python: PathBuf,
    /// `torch_step.py`, or a program with its flags and output.
    pub script: PathBuf,
}

/// One run of it.
#[derive(Debug, Clone, Serialize)]
pub struct PeerRun {
    /// What the network is for.
    pub modality: Modality,
    /// Kind of the matrix products.
    pub precision: Precision,
    /// Whether by torch.compile.
    pub compiled: bool,
    /// Samples per step.
    pub batch: usize,
    /// The peer's time over ours: above 1, this program is faster. Absent where the peer failed.
    pub speedup: Option<f64>,
    /// What it printed.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Peer {
    /// Runs the best batch of every series, as long as there is time: of each precision first as it is, then compiled.
    ///
    /// # Errors
    /// If there is nothing to compare with; a peer that fails is part of the result.
    pub fn run(
        &self,
        device: Device,
        size: Size,
        ours: &[Series],
        deadline: Instant,
    ) -> anyhow::Result<Vec<PeerRun>> {
        if ours.iter().all(|series| series.best().is_none()) {
            bail!("no step of ours was timed, there is nothing to compare with");
        }
        let mut runs = Vec::new();
        for precision in ours.chunk_by(|one, next| one.precision == next.precision) {
            for compiled in [false, true] {
                // Compiling for the CPU takes a compiler and minutes; it would say nothing about a GPU.
                if compiled && !device.is_cuda() {
                    break;
                }
                for series in precision {
                    let Some(best) = series.best() else { continue };
                    if Instant::now() < deadline {
                        runs.push(self.run_one(device, size, series, best, compiled, deadline));
                    }
                }
            }
        }
        Ok(runs)
    }

    fn run_one(
        &self,
        device: Device,
        size: Size,
        series: &Series,
        ours: &StepTiming,
        compiled: bool,
        deadline: Instant,
    ) -> PeerRun {
        let Series { modality, precision, .. } = *series;
        let batch = ours.batch;
        let mut run =
            PeerRun { modality, precision, compiled, batch, speedup: None, result: None, error: None };
        let result = arguments(device, size, series, ours, compiled)
            .and_then(|arguments| {
                output(Command::new(&self.python).arg(&self.script).args(arguments), deadline)
            })
            .and_then(|text| last_object(&text));
        match result {
            Ok(result) => {
                run.speedup = result["ms_per_step"].as_f64().map(|theirs| theirs / ours.ms_per_step);
                run.result = Some(result);
            }
            Err(error) => run.error = Some(format!("{error:#}")),
        }
        run
    }
}

fn arguments(
    device: Device,
    size: Size,
    series: &Series,
    ours: &StepTiming,
    compiled: bool,
) -> anyhow::Result<Vec<String>> {
    let device = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    let case = match series.modality {
        Modality::Image => "vision",
        Modality::Audio => "audio",
        Modality::Text => "text",
    };
    let mut arguments: Vec<String> = ["--case", case, "--impl", "lean"].map(str::to_owned).into();
    let values = [
        ("--size", name(size)?),
        ("--batch", ours.batch.to_string()),
        ("--device", device),
        ("--dtype", series.precision.name().to_owned()),
        ("--steps", ours.steps.to_string()),
        ("--warmup", "3".to_owned()),
    ];
    arguments.extend(values.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    if compiled {
        arguments.push("--compile".to_owned());
    }
    Ok(arguments)
}

/// A choice by the name that it has in files and flags.
fn name(choice: impl Serialize) -> anyhow::Result<String> {
    serde_json::to_value(choice)?.as_str().map(str::to_owned).context("every choice is written as a name")
}

/// What a program prints, unless it fails or is not done by `deadline`; it is ended then.
fn output(command: &mut Command, deadline: Instant) -> anyhow::Result<String> {
    // Files, not pipes: a full pipe would stop the program while nobody reads.
    let (mut out, mut messages) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(messages.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("not done in the time that was left");
        }
        std::thread::sleep(POLL);
    };
    let text = |file: &mut std::fs::File| -> std::io::Result<String> {
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    if !status.success() {
        let messages = text(&mut messages)?;
        let lines: Vec<&str> = messages.lines().collect();
        bail!("{status}: {}", lines[lines.len().saturating_sub(KEPT_LINES)..].join(" | "));
    }
    Ok(text(&mut out)?)
}

/// The JSON object on the last line that is one.
fn last_object(text: &str) -> anyhow::Result<Value> {
    let object = |line: &str| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
    text.lines().rev().find_map(object).context("it printed no JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: StepTiming = StepTiming {
        batch: 4,
        steps: 2,
        ms_per_step: 50.0,
        ms_min: 40.0,
        ms_max: 60.0,
        samples_per_s: 80.0,
        step_gflop: 1.0,
        tflops: 1.0,
        peak_mib: 1,
        loss: 1.0,
    };

    fn series() -> Series {
        Series {
            modality: Modality::Image,
            precision: Precision::Bf16,
            ceiling_tflops: 1.0,
            timings: vec![TIMING],
            deterministic: None,
            queued_ms: None,
            parts_ms: vec![],
        }
    }

    /// Runs a shell script in Python's place.
    fn run(script: &str, seconds: u64) -> PeerRun {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.sh");
        std::fs::write(&path, script).unwrap();
        let peer = Peer { python: "sh".into(), script: path };
        let deadline = Instant::now() + Duration::from_secs(seconds);
        peer.run(Device::Cpu, Size::Base, &[series()], deadline).unwrap().remove(0)
    }

    #[test]
    fn the_peer_is_given_our_case_and_compared() {
        let run = run("echo loading; echo \"{\\\"ms_per_step\\\": 100, \\\"asked\\\": \\\"$*\\\"}\"", 60);
        assert_eq!(run.speedup, Some(2.0), "{run:?}");
        let asked =
            "--case vision --impl lean --size base --batch 4 --device cpu --dtype bf16 --steps 2 --warmup 3";
        assert_eq!(run.result.unwrap()["asked"], asked);
    }

    #[test]
    fn a_peer_that_fails_or_hangs_is_told() {
        for (script, seconds, part) in [
            ("echo no torch >&2; exit 3", 60, "no torch"),
            ("echo hello", 60, "no JSON"),
            ("exec sleep 60", 1, "not done in the time"),
        ] {
            let run = run(script, seconds);
            assert!(run.error.as_ref().is_some_and(|error| error.contains(part)), "{run:?}");
            assert_eq!(run.speedup, None);
        }
    }
}

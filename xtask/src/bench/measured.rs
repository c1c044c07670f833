//! Programs that measure and print one JSON object: d2v, and its peer in PyTorch.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Lines of a failed program's messages that are kept.
const KEPT_LINES: usize = 4;

/// One run of a program that times steps; the keys of `d2v bench-step --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRun {
    /// Tokens of a sample, the class token not counted.
    pub(crate) tokens: u64,
    pub(crate) threads: u64,
    /// Version of libtorch or PyTorch.
    pub(crate) torch: String,
    /// Median over the steps.
    pub(crate) ms_per_step: f64,
    /// Shortest step.
    pub(crate) ms_min: f64,
    /// Longest step.
    pub(crate) ms_max: f64,
    pub(crate) samples_per_s: f64,
    /// 10^9 operations of a step, by the count that all programs share.
    pub(crate) step_gflop: f64,
    /// 10^12 of these operations per second.
    pub(crate) tflops: f64,
    /// Of the process on the CPU, of tensors on CUDA.
    pub(crate) peak_mib: f64,
    /// Memory before there was a network, where the program tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_mib: Option<f64>,
}

/// What a device does at most; the keys of `d2v bench-ceiling --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ceiling {
    /// Processor, cores, memory, device in words.
    pub(crate) machine: String,
    /// What libtorch takes by itself, or was told to.
    pub(crate) threads: u32,
    /// Version of libtorch.
    pub(crate) torch: String,
    /// Of large products, 10^12 operations per second.
    pub(crate) matmul_tflops: f64,
    /// Of large copies, reading and writing both counted.
    pub(crate) copy_gb_per_s: f64,
}

impl Ceiling {
    /// The higher of two measurements: whatever else a machine does makes them lower, never higher.
    pub(crate) fn raise(&mut self, other: &Ceiling) {
        self.matmul_tflops = self.matmul_tflops.max(other.matmul_tflops);
        self.copy_gb_per_s = self.copy_gb_per_s.max(other.copy_gb_per_s);
    }
}

/// Runs a program to its end and reads the last line of its output that is such an object.
///
/// # Errors
/// When it cannot be started, fails, is ended by a signal, or prints no such object; the message holds the end of
/// what it said.
pub(crate) fn run<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{}", ended(output.status, &reason(&messages)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{')).context("it printed no JSON object")?;
    serde_json::from_str(line).with_context(|| format!("not what a step program prints: {line}"))
}

/// What a program said last: the error that ends a Python traceback, else its last lines.
fn reason(messages: &str) -> String {
    let names_an_error = |line: &&str| {
        line.split_once(": ").is_some_and(|(name, _)| name.ends_with("Error") && !name.contains(' '))
    };
    if let Some(line) = messages.lines().rev().find(names_an_error) {
        return line.to_owned();
    }
    let lines: Vec<&str> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(KEPT_LINES)..].join(" | ")
}

fn ended(status: ExitStatus, reason: &str) -> String {
    const KILLED: i32 = 9;
    match (status.signal(), reason) {
        (Some(KILLED), _) => {
            "killed from outside (signal 9), as the system does when memory runs out".to_owned()
        }
        (_, "") => status.to_string(),
        (_, reason) => format!("{status}: {reason}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A shell script that can be started, as a stand-in for a program.
    pub(crate) fn stand_in(folder: &Path, name: &str, script: &str) -> PathBuf {
        let (text, path) = (folder.join(format!("{name}.sh")), folder.join(name));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // Another process writes the program itself: one that this process has open for writing could not be started
        // while a test beside this one, which inherited the open file, has not yet become its own program.
        let install = Command::new("install").args(["-m", "755"]).args([&text, &path]).status().unwrap();
        assert!(install.success());
        path
    }

    /// A run that took so long and so much memory.
    pub(crate) fn step_run(ms: f64, peak_mib: f64) -> StepRun {
        StepRun {
            tokens: 196,
            threads: 2,
            torch: "2.11.0".to_owned(),
            ms_per_step: ms,
            ms_min: 0.9 * ms,
            ms_max: 1.1 * ms,
            samples_per_s: 8e3 / ms,
            step_gflop: 100.0,
            tflops: 0.1 / ms * 1e3,
            peak_mib,
            start_mib: None,
        }
    }

    fn shell(script: &str) -> Result<StepRun> {
        run(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn the_last_object_is_read() {
        let json = serde_json::to_string(&step_run(50.0, 10.0)).unwrap();
        assert_eq!(shell(&format!("echo '{{}}'; echo '{json}'; echo done")).unwrap(), step_run(50.0, 10.0));
    }

    #[test]
    fn failures_say_why() {
        let check = |script: &str, part: &str| {
            let error = format!("{:#}", shell(script).unwrap_err());
            assert!(error.contains(part), "{script}: {error}");
        };
        check("echo first >&2; echo 'no module torch' >&2; exit 3", "3: first | no module torch");
        check("printf 'Trace\\n  raise\\nImportError: no x\\nadvice\\n' >&2; exit 1", "1: ImportError: no x");
        check("kill -9 $$", "memory runs out");
        check("echo hello", "no JSON object");
        check("echo '{\"ms\": 1}'", "missing field");
    }

    #[test]
    fn a_ceiling_is_the_best_of_what_was_seen() {
        let ceiling = |matmul_tflops, copy_gb_per_s| Ceiling {
            machine: String::new(),
            threads: 2,
            torch: String::new(),
            matmul_tflops,
            copy_gb_per_s,
        };
        let mut best = ceiling(0.2, 9.0);
        best.raise(&ceiling(0.25, 8.0));
        assert_eq!(best, ceiling(0.25, 9.0));
    }
}

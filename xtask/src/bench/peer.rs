//! `cargo xtask bench --peer`: the whole step beside the same step in PyTorch.
//!
//! Machines change their speed while one measures, so that programs take turns: in each round d2v runs, then each peer,
//! every one a whole process with the same flags and the same number of threads.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::checkout::Checkout;
use crate::pinned::Pinned;

use super::comparison::{Comparison, Program, Series, table};
use super::measured::{self, Ceiling, StepRun};
use super::python::{self, Python};
use super::workload::{BatchOf, Size, Workload};
use super::{MachineArguments, program, write_json};

/// Our own program in PyTorch, from the root of the checkout.
const SCRIPT: &str = "benches/peer/torch_step.py";

/// Arguments of --peer alone.
#[derive(clap::Args)]
#[command(next_help_heading = "With --peer")]
pub(crate) struct Arguments {
    /// A Python with PyTorch; else the one that D2V_PYTHON names, else python3.
    #[arg(long, value_name = "PATH", requires = "whole step", conflicts_with = "scale")]
    python: Option<PathBuf>,
    /// A program with the flags and the output of benches/peer/torch_step.py, instead of it.
    #[arg(long, value_name = "PATH", requires = "whole step", conflicts_with = "scale")]
    peer_script: Option<PathBuf>,
    /// Size of the network.
    #[arg(long, value_enum, default_value = "base", requires = "whole step", conflicts_with = "scale")]
    size: Size,
    /// Samples per step of a case [default: image=8,speech=4,text=4]
    #[arg(
        long,
        value_name = "CASE=N",
        value_delimiter = ',',
        requires = "whole step",
        conflicts_with = "scale"
    )]
    batch: Vec<BatchOf>,
    /// Length of each sound.
    #[arg(long, value_name = "S", default_value_t = 5.0, requires = "whole step", conflicts_with = "scale")]
    seconds: f64,
    /// How often each program runs.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(requires = "whole step", conflicts_with = "scale")]
    rounds: u32,
    /// Steps timed in each run [default: 5, on CUDA 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "whole step", conflicts_with = "scale")]
    steps: Option<u32>,
    /// Steps before, not timed [default: 1, on CUDA 5]
    #[arg(long, value_name = "N", requires = "whole step", conflicts_with = "scale")]
    warmup: Option<u32>,
    /// What d2v is compared with.
    #[arg(long = "impl", value_enum, value_delimiter = ',', default_value = "lean", value_name = "PROGRAMS")]
    #[arg(requires = "whole step", conflicts_with = "scale")]
    implementations: Vec<Implementation>,
    /// Each of them also by torch.compile.
    #[arg(long, requires = "whole step", conflicts_with = "scale")]
    compile: bool,
}

/// A way to write the step in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Implementation {
    /// By hand, for speed.
    Lean,
    /// With the models of the package transformers.
    Hf,
}

impl Implementation {
    fn program(self, compiled: bool) -> Program {
        match (self, compiled) {
            (Self::Lean, false) => Program::Lean,
            (Self::Lean, true) => Program::LeanCompiled,
            (Self::Hf, false) => Program::Hf,
            (Self::Hf, true) => Program::HfCompiled,
        }
    }
}

/// All that --json writes.
#[derive(Serialize)]
struct Report {
    /// The best of all measurements, between which the programs ran.
    ceiling: Ceiling,
    python: String,
    pytorch: String,
    script: PathBuf,
    /// In which the programs of a round run.
    order: Vec<Program>,
    rounds: u32,
    comparisons: Vec<Comparison>,
}

/// Runs all cases and prints one table.
///
/// # Errors
/// When there is no Python with PyTorch, d2v cannot be built, or the ceiling cannot be measured.
pub(crate) fn run(
    checkout: &Checkout,
    machine: &MachineArguments,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let wanted = Pinned::read(&checkout.pins())?.version;
    let python = python::find(arguments.python.as_deref(), &wanted)?;
    let script = arguments.peer_script.clone().unwrap_or_else(|| checkout.root().join(SCRIPT));
    let script = script.canonicalize().with_context(|| format!("no program {}", script.display()))?;
    let bench = Bench { d2v: program(checkout, machine)?, python, script };
    let ceiling = bench.ceiling(machine)?;
    let workloads = workloads(machine, arguments, ceiling.threads);
    let order = order(arguments);
    let series = || order.iter().copied().map(Series::new).collect();
    let comparisons =
        workloads.into_iter().map(|workload| Comparison { workload, series: series() }).collect();
    let mut report = Report {
        ceiling,
        python: bench.python.program.display().to_string(),
        pytorch: bench.python.torch.clone(),
        script: bench.script.clone(),
        order,
        rounds: arguments.rounds,
        comparisons,
    };
    for index in 0..report.comparisons.len() {
        for round in 1..=arguments.rounds {
            bench.round(&mut report.comparisons[index], round);
            report.ceiling.raise(&bench.ceiling(machine)?);
            for comparison in &mut report.comparisons {
                comparison.summarise(report.ceiling.matmul_tflops);
            }
            // After each round: what was measured outlives an interruption.
            write_json(machine.json.as_deref(), &report)?;
        }
    }
    println!("\n{}", text(&report));
    let ours = report.comparisons.iter().filter_map(|comparison| comparison.series.first());
    let failed = ours.filter(|series| series.failure.is_some()).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// d2v, then each peer as it is, then each compiled.
fn order(arguments: &Arguments) -> Vec<Program> {
    let mut order = vec![Program::D2v];
    for compiled in [false, true] {
        if arguments.compile || !compiled {
            order.extend(arguments.implementations.iter().map(|one| one.program(compiled)));
        }
    }
    order
}

fn workloads(machine: &MachineArguments, arguments: &Arguments, threads: u32) -> Vec<Workload> {
    // Steps of a GPU are short, and its libraries take a few of them to settle.
    let (steps, warmup) = if machine.device.starts_with("cuda") { (20, 5) } else { (5, 1) };
    let of = |&case| {
        let asked = arguments.batch.iter().rev().find(|batch| batch.case == case);
        Workload {
            case,
            size: arguments.size,
            batch: asked.map_or(case.batch(), |batch| batch.samples),
            seconds: arguments.seconds,
            device: machine.device.clone(),
            precision: machine.precision,
            steps: arguments.steps.unwrap_or(steps),
            warmup: arguments.warmup.unwrap_or(warmup),
            threads,
        }
    };
    machine.cases.iter().map(of).collect()
}

/// The programs that take turns.
struct Bench {
    d2v: PathBuf,
    python: Python,
    script: PathBuf,
}

impl Bench {
    fn ceiling(&self, machine: &MachineArguments) -> Result<Ceiling> {
        ceiling(&self.d2v, machine)
    }

    /// One run of each program that has not failed before.
    fn round(&self, comparison: &mut Comparison, round: u32) {
        for series in &mut comparison.series {
            if series.failure.is_some() {
                continue;
            }
            let mut command = self.command(series.program, &comparison.workload);
            let name = format!("{}, round {round}, {}", comparison.workload.case, series.program);
            match measured::run::<StepRun>(&mut command) {
                Ok(run) => {
                    eprintln!("{name}: {:.0} ms/step, {:.0} MiB", run.ms_per_step, run.peak_mib);
                    series.runs.push(run);
                }
                Err(error) => {
                    eprintln!("{name}: {error:#}");
                    series.failure = Some(format!("{error:#}"));
                }
            }
        }
    }

    fn command(&self, program: Program, workload: &Workload) -> Command {
        let precision = workload.precision.flag();
        let mut command = match program {
            Program::D2v => Command::new(&self.d2v),
            _ => Command::new(&self.python.program),
        };
        match program {
            Program::D2v => command.args(["bench-step", "--json", "--precision", precision]),
            Program::Lean => self.peer(&mut command, "lean", precision),
            Program::LeanCompiled => self.peer(&mut command, "lean", precision).arg("--compile"),
            Program::Hf => self.peer(&mut command, "hf", precision),
            Program::HfCompiled => self.peer(&mut command, "hf", precision).arg("--compile"),
        };
        command.args(workload.flags());
        command
    }

    fn peer<'a>(&self, command: &'a mut Command, name: &str, precision: &str) -> &'a mut Command {
        command.arg(&self.script).args(["--impl", name, "--dtype", precision])
    }
}

/// Measures what the device does at most; says how many threads a program takes there.
///
/// # Errors
/// When d2v cannot use the device.
pub(super) fn ceiling(d2v: &Path, machine: &MachineArguments) -> Result<Ceiling> {
    let mut command = Command::new(d2v);
    command.args(["bench-ceiling", "--json", "--precision", machine.precision.flag()]);
    command.args(["--device", &machine.device]);
    if let Some(threads) = machine.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    measured::run(&mut command).context("d2v bench-ceiling")
}

fn text(report: &Report) -> String {
    let Report { ceiling, python, pytorch, order, rounds, comparisons, .. } = report;
    let names: Vec<String> = order.iter().map(|program| program.to_string().replace(", ", " ")).collect();
    let what = comparisons.first().map_or(String::new(), |comparison| {
        let Workload { size, precision, device, threads, steps, warmup, .. } = &comparison.workload;
        format!(
            "{}, {}, {device}, {threads} threads each; {rounds} x ({}) in turn, each {steps} steps after {warmup}",
            size.flag(),
            precision.flag(),
            names.join(", ")
        )
    });
    format!(
        "{}\n\
         ceiling: large product {:.3} TFLOP/s, large copy {:.1} GB/s\n\
         d2v over libtorch {}; PyTorch {pytorch} ({python})\n\
         {what}\n\n\
         {}\n\
         ms/step: median over rounds (shortest - longest step). TFLOP/s: the operations that the model counts, also\n\
         where a program finds a way around them, so that `of ceiling` may pass 100 %. d2v's speed and memory: over the\n\
         program's in the same round (lowest - highest round); 1.10 and 0.90 are a tenth more and a tenth less.\n",
        ceiling.machine,
        ceiling.matmul_tflops,
        ceiling.copy_gb_per_s,
        ceiling.torch,
        table(comparisons),
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::super::measured::tests::{stand_in, step_run};
    use super::super::workload::{Case, Precision};
    use super::*;

    fn workload() -> Workload {
        Workload {
            case: Case::Speech,
            size: Size::Tiny,
            batch: 3,
            seconds: 2.5,
            device: "cpu".to_owned(),
            precision: Precision::Bf16,
            steps: 4,
            warmup: 0,
            threads: 2,
        }
    }

    fn bench(d2v: &str, python: &str) -> Bench {
        let python = Python { program: OsString::from(python), torch: "2.11.0".to_owned() };
        Bench { d2v: d2v.into(), python, script: "torch_step.py".into() }
    }

    #[test]
    fn every_program_is_asked_for_the_same() {
        let bench = bench("d2v", "python");
        let line = |program| {
            let command = bench.command(program, &workload());
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        };
        let shared =
            "--case audio --size tiny --batch 3 --seconds 2.5 --device cpu --steps 4 --warmup 0 --threads 2";
        for (program, own) in [
            (Program::D2v, "bench-step --json --precision bf16"),
            (Program::Lean, "torch_step.py --impl lean --dtype bf16"),
            (Program::HfCompiled, "torch_step.py --impl hf --dtype bf16 --compile"),
        ] {
            assert_eq!(line(program), format!("{own} {shared}"));
        }
    }

    #[test]
    fn programs_take_turns_and_one_that_failed_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let json = serde_json::to_string(&step_run(50.0, 10.0)).unwrap();
        let log = folder.path().join("log");
        // Each notes its turn; the models of transformers are not there.
        let script = |name: &str| {
            let text = format!(
                "echo {name} >> {}\ncase \"$*\" in *hf*) echo 'ImportError: none' >&2; exit 1;; esac\necho '{json}'",
                log.display()
            );
            stand_in(folder.path(), name, &text).display().to_string()
        };
        let bench = bench(&script("ours"), &script("theirs"));
        let series = [Program::D2v, Program::Lean, Program::Hf].map(Series::new).to_vec();
        let mut comparison = Comparison { workload: workload(), series };
        for round in [1, 2] {
            bench.round(&mut comparison, round);
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "ours\ntheirs\ntheirs\nours\ntheirs\n");
        let [ours, lean, hf] = &comparison.series[..] else { panic!("three programs") };
        assert_eq!((ours.runs.len(), lean.runs.len(), hf.runs.len()), (2, 2, 0));
        assert!(hf.failure.as_ref().unwrap().contains("ImportError: none"), "{hf:?}");
        assert_eq!((&ours.failure, &lean.failure), (&None, &None));
    }
}

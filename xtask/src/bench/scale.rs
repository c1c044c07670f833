//! `cargo xtask bench --scale`: how time and memory of a step grow beside the count of its operations.
//!
//! Along each axis four networks are timed, small ones, so that the whole takes minutes; each in a process of its own,
//! whose peak memory is then its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::checkout::Checkout;

use super::columns::align;
use super::comparison::milliseconds;
use super::growth::{Cost, Growth, TOLERANCE};
use super::measured::{self, Ceiling, StepRun};
use super::workload::Case;
use super::{MachineArguments, peer, program, write_json};

/// Steps timed at each point, after one that is not; the shortest counts.
const STEPS: u32 = 5;

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Axis {
    Tokens,
    Batch,
    Width,
    Depth,
}

impl Axis {
    const ALL: [Axis; 4] = [Axis::Tokens, Axis::Batch, Axis::Width, Axis::Depth];

    /// The points of an axis: about twice as much from one to the next.
    fn values(self, case: Case) -> [u32; 4] {
        match (self, case) {
            // Patches make a square.
            (Axis::Tokens, Case::Image) => [64, 144, 256, 576],
            (Axis::Tokens, Case::Speech | Case::Text) => [64, 128, 256, 512],
            (Axis::Batch, _) => [2, 4, 8, 16],
            (Axis::Width, _) => [128, 256, 512, 1024],
            (Axis::Depth, _) => [2, 4, 8, 16],
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Axis::Tokens => "tokens",
            Axis::Batch => "batch",
            Axis::Width => "width",
            Axis::Depth => "depth",
        })
    }
}

/// A network and a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Point {
    tokens: u32,
    batch: u32,
    width: u32,
    depth: u32,
}

/// What is the same along every other axis.
const MIDDLE: Point = Point { tokens: 256, batch: 4, width: 256, depth: 4 };

impl Point {
    /// The middle, moved along one axis.
    fn at(axis: Axis, value: u32) -> Point {
        match axis {
            Axis::Tokens => Point { tokens: value, ..MIDDLE },
            Axis::Batch => Point { batch: value, ..MIDDLE },
            Axis::Width => Point { width: value, ..MIDDLE },
            Axis::Depth => Point { depth: value, ..MIDDLE },
        }
    }

    fn flags(self) -> [(&'static str, u32); 4] {
        [("--tokens", self.tokens), ("--batch", self.batch), ("--width", self.width), ("--depth", self.depth)]
    }
}

/// One axis of one case.
#[derive(Serialize)]
struct Line {
    case: Case,
    axis: Axis,
    costs: Vec<Cost>,
    #[serde(flatten)]
    growth: Growth,
    faster_than_model: Vec<&'static str>,
}

/// All that --json writes.
#[derive(Serialize)]
struct Report {
    ceiling: Ceiling,
    device: String,
    precision: &'static str,
    middle: Point,
    tolerance: f64,
    lines: Vec<Line>,
}

/// Measures all points and prints them, then the exponents.
///
/// # Errors
/// When d2v cannot be built or cannot run a point.
pub(crate) fn run(checkout: &Checkout, machine: &MachineArguments) -> Result<ExitCode> {
    let d2v = program(checkout, machine)?;
    let ceiling = peer::ceiling(&d2v, machine)?;
    let (device, precision) = (machine.device.clone(), machine.precision.flag());
    let (middle, tolerance) = (MIDDLE, TOLERANCE);
    let mut report = Report { ceiling, device, precision, middle, tolerance, lines: Vec::new() };
    for &case in &machine.cases {
        let mut measurer = Measurer { d2v: d2v.clone(), case, machine, known: Vec::new() };
        for axis in Axis::ALL {
            let costs = axis.values(case).into_iter().map(|value| measurer.cost(axis, value));
            let costs = costs.collect::<Result<Vec<_>>>()?;
            let growth = Growth::of(&costs);
            let faster_than_model = growth.faster_than_model();
            report.lines.push(Line { case, axis, costs, growth, faster_than_model });
            write_json(machine.json.as_deref(), &report)?;
        }
    }
    println!("{}", text(&report));
    Ok(ExitCode::SUCCESS)
}

/// Measures points of one case; none twice.
struct Measurer<'a> {
    d2v: PathBuf,
    case: Case,
    machine: &'a MachineArguments,
    known: Vec<(Point, StepRun)>,
}

impl Measurer<'_> {
    fn cost(&mut self, axis: Axis, value: u32) -> Result<Cost> {
        let point = Point::at(axis, value);
        let known = self.known.iter().find(|(known, _)| *known == point).map(|(_, run)| run.clone());
        let run = match known {
            Some(run) => run,
            None => {
                let run = step(&self.d2v, self.case, point, self.machine)?;
                eprintln!("{}, {axis} {value}: {:.1} ms, {:.0} MiB", self.case, run.ms_min, run.peak_mib);
                self.known.push((point, run.clone()));
                run
            }
        };
        let mib = run.peak_mib - run.start_mib.unwrap_or(0.0);
        Ok(Cost { value, gflop: run.step_gflop, ms: run.ms_min, mib })
    }
}

fn step(d2v: &Path, case: Case, point: Point, machine: &MachineArguments) -> Result<StepRun> {
    let mut command = Command::new(d2v);
    command.args([
        "bench-step",
        "--json",
        "--size",
        "tiny",
        "--case",
        case.flag(),
        "--device",
        &machine.device,
    ]);
    command.args(["--precision", machine.precision.flag(), "--warmup", "1", "--steps", &STEPS.to_string()]);
    for (flag, value) in point.flags() {
        command.args([flag, &value.to_string()]);
    }
    if let Some(threads) = machine.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    measured::run(&mut command).with_context(|| format!("d2v bench-step, {case}, {point:?}"))
}

fn text(report: &Report) -> String {
    let Report { ceiling, device, precision, middle, lines, .. } = report;
    let headers = ["case", "axis", "", "GFLOP", "ms/step", "TFLOP/s", "of ceiling", "MiB"];
    let mut points = vec![headers.map(str::to_owned).to_vec()];
    let headers = ["case", "axis", "from - to", "GFLOP ~", "time ~", "memory ~", ""];
    let mut exponents = vec![headers.map(str::to_owned).to_vec()];
    for line in lines {
        points.extend(line.costs.iter().map(|cost| point_row(line, cost, ceiling.matmul_tflops)));
        exponents.push(exponent_row(line));
    }
    let Point { tokens, batch, width, depth } = middle;
    format!(
        "{}\n\
         ceiling: large product {:.3} TFLOP/s, large copy {:.1} GB/s\n\
         {precision}, {device}; {tokens} tokens, batch {batch}, width {width}, depth {depth} but where they vary; the \
         shortest of {STEPS} steps,\n\
         memory beyond what the process held before it had a network\n\n\
         {}\n\
         How each grows, as a power of what varies:\n\n\
         {}\n\
         `!!`: more than {TOLERANCE} above the power of the counted operations. Less is usual: small steps have fixed \
         costs.\n",
        ceiling.machine,
        ceiling.matmul_tflops,
        ceiling.copy_gb_per_s,
        align(&points),
        align(&exponents),
    )
}

fn point_row(line: &Line, cost: &Cost, ceiling_tflops: f64) -> Vec<String> {
    let tflops = cost.gflop / cost.ms;
    vec![
        line.case.to_string(),
        line.axis.to_string(),
        cost.value.to_string(),
        format!("{:.1}", cost.gflop),
        milliseconds(cost.ms),
        format!("{tflops:.3}"),
        format!("{:.0} %", 100.0 * tflops / ceiling_tflops),
        format!("{:.0}", cost.mib),
    ]
}

fn exponent_row(line: &Line) -> Vec<String> {
    let ends = line.costs.first().zip(line.costs.last());
    let power = |exponent: Option<f64>| exponent.map_or("?".to_owned(), |exponent| format!("{exponent:.2}"));
    let verdict = match line.faster_than_model.as_slice() {
        [] => "ok".to_owned(),
        names => format!("!! {}", names.join(" and ")),
    };
    vec![
        line.case.to_string(),
        line.axis.to_string(),
        ends.map_or(String::new(), |(first, last)| format!("{} - {}", first.value, last.value)),
        power(line.growth.model),
        power(line.growth.time),
        power(line.growth.memory),
        verdict,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_passes_through_the_middle() {
        for case in [Case::Image, Case::Speech, Case::Text] {
            for axis in Axis::ALL {
                let points = axis.values(case).map(|value| Point::at(axis, value));
                assert!(points.contains(&MIDDLE), "{case} {axis}");
            }
        }
    }

    #[test]
    fn a_line_that_grows_too_fast_is_marked() {
        let line = |power: f64| {
            let cost = |value: u32| {
                let x = f64::from(value);
                Cost { value, gflop: x, ms: x.powf(power), mib: x }
            };
            let costs = Axis::Tokens.values(Case::Text).map(cost).to_vec();
            let growth = Growth::of(&costs);
            let faster_than_model = growth.faster_than_model();
            exponent_row(&Line { case: Case::Text, axis: Axis::Tokens, costs, growth, faster_than_model })
        };
        assert_eq!(line(2.0)[2..], ["64 - 512", "1.00", "2.00", "1.00", "!! time"]);
        assert_eq!(line(1.1)[6], "ok");
    }
}

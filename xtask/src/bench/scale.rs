//! `cargo xtask bench --scale`: how time and memory of a step grow beside the count of its operations.
//!
//! Along each axis four networks are timed, small ones, so that the whole takes minutes; each in a process of its own,
//! whose peak memory is then its own.

use std::fmt;
use std::path::Path;
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

/// Steps timed each time a point is measured, after one that is not.
const STEPS: u32 = 3;
/// How often each point is measured, all the others in between: what slows a machine down for a while must not pass
/// for growth. The shortest step of all counts.
const ROUNDS: usize = 2;

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
            (Axis::Batch, Case::Speech) => [1, 2, 4, 8],
            (Axis::Batch, Case::Image | Case::Text) => [2, 4, 8, 16],
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Point {
    tokens: u32,
    batch: u32,
    width: u32,
    depth: u32,
}

impl Point {
    /// What is the same along every other axis. The convolutions of sound alone cost what an image does in all.
    fn middle(case: Case) -> Point {
        match case {
            Case::Image | Case::Text => Point { tokens: 256, batch: 4, width: 256, depth: 4 },
            Case::Speech => Point { tokens: 128, batch: 2, width: 256, depth: 4 },
        }
    }

    /// The middle, moved along one axis.
    fn at(case: Case, axis: Axis, value: u32) -> Point {
        let middle = Point::middle(case);
        match axis {
            Axis::Tokens => Point { tokens: value, ..middle },
            Axis::Batch => Point { batch: value, ..middle },
            Axis::Width => Point { width: value, ..middle },
            Axis::Depth => Point { depth: value, ..middle },
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
    /// What does not vary, and one of the points.
    middle: Point,
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
    let mut report = Report { ceiling, device, precision, tolerance: TOLERANCE, lines: Vec::new() };
    for &case in &machine.cases {
        let runs = measure(&d2v, case, machine)?;
        report.lines.extend(Axis::ALL.map(|axis| line(case, axis, &runs)));
        write_json(machine.json.as_deref(), &report)?;
    }
    println!("\n{}", text(&report));
    Ok(ExitCode::SUCCESS)
}

/// Measures every point of a case in every round.
fn measure(d2v: &Path, case: Case, machine: &MachineArguments) -> Result<Vec<(Point, StepRun)>> {
    let axes = Axis::ALL.into_iter();
    let mut points: Vec<Point> =
        axes.flat_map(|axis| axis.values(case).map(|value| Point::at(case, axis, value))).collect();
    // The middle is on every axis.
    points.sort();
    points.dedup();
    let mut runs = Vec::with_capacity(ROUNDS * points.len());
    for round in 1..=ROUNDS {
        for &point in &points {
            let run = step(d2v, case, point, machine)?;
            eprintln!("{case}, round {round}, {point}: {:.1} ms, {:.0} MiB", run.ms_min, run.peak_mib);
            runs.push((point, run));
        }
    }
    Ok(runs)
}

/// An axis, from the runs of its points.
fn line(case: Case, axis: Axis, runs: &[(Point, StepRun)]) -> Line {
    let cost = |value| {
        let point = Point::at(case, axis, value);
        let of_point = runs.iter().filter(|(other, _)| *other == point).map(|(_, run)| run);
        let none = Cost { value, gflop: f64::NAN, ms: f64::INFINITY, mib: f64::INFINITY };
        of_point.fold(none, |best, run| Cost {
            value,
            gflop: run.step_gflop,
            ms: best.ms.min(run.ms_min),
            mib: best.mib.min(run.peak_mib - run.start_mib.unwrap_or(0.0)),
        })
    };
    let costs = axis.values(case).map(cost).to_vec();
    let growth = Growth::of(&costs);
    let faster_than_model = growth.faster_than_model();
    Line { case, axis, middle: Point::middle(case), costs, growth, faster_than_model }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { tokens, batch, width, depth } = self;
        write!(f, "{tokens} tokens, batch {batch}, width {width}, depth {depth}")
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
    measured::run(&mut command).with_context(|| format!("d2v bench-step, {case}, {point}"))
}

fn text(report: &Report) -> String {
    let Report { ceiling, device, precision, lines, .. } = report;
    let headers = ["case", "axis", "", "GFLOP", "ms/step", "TFLOP/s", "of ceiling", "MiB"];
    let mut points = vec![headers.map(str::to_owned).to_vec()];
    let headers = ["case", "axis", "from - to", "GFLOP ~", "time ~", "memory ~", ""];
    let mut exponents = vec![headers.map(str::to_owned).to_vec()];
    for line in lines {
        points.extend(line.costs.iter().map(|cost| point_row(line, cost, ceiling.matmul_tflops)));
        exponents.push(exponent_row(line));
    }
    let middles = lines.iter().filter(|line| line.axis == Axis::ALL[0]);
    let middles: Vec<String> = middles.map(|line| format!("{} {}", line.case, line.middle)).collect();
    format!(
        "{}\n\
         ceiling: large product {:.3} TFLOP/s, large copy {:.1} GB/s\n\
         {precision}, {device}, {} threads; but where they vary: {}\n\
         the shortest of {ROUNDS} x {STEPS} steps; memory beyond what the process held before it had a network\n\n\
         {}\n\
         How each grows from the second point on, as a power of what varies:\n\n\
         {}\n\
         `!!`: more than {TOLERANCE} above the power of the counted operations. Less is usual: small steps have fixed \
         costs.\n",
        ceiling.machine,
        ceiling.matmul_tflops,
        ceiling.copy_gb_per_s,
        ceiling.threads,
        middles.join("; "),
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
    let ends = line.costs.get(1).zip(line.costs.last());
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
    use super::super::measured::tests::step_run;
    use super::*;

    #[test]
    fn every_axis_passes_through_the_middle() {
        for case in [Case::Image, Case::Speech, Case::Text] {
            for axis in Axis::ALL {
                let points = axis.values(case).map(|value| Point::at(case, axis, value));
                assert!(points.contains(&Point::middle(case)), "{case} {axis}");
            }
        }
    }

    /// Runs whose time grows as the `power` of the tokens, while the count grows as they do.
    fn runs(power: f64, slowed: f64) -> Vec<(Point, StepRun)> {
        let run = |tokens: u32| {
            let run = step_run(f64::from(tokens).powf(power) * slowed, 100.0 + f64::from(tokens));
            let (step_gflop, start_mib) = (f64::from(tokens), Some(100.0));
            (Point::at(Case::Text, Axis::Tokens, tokens), StepRun { step_gflop, start_mib, ..run })
        };
        Axis::Tokens.values(Case::Text).map(run).to_vec()
    }

    #[test]
    fn a_line_that_grows_too_fast_is_marked() {
        let row = |power| exponent_row(&line(Case::Text, Axis::Tokens, &runs(power, 1.0)));
        assert_eq!(row(2.0)[2..], ["128 - 512", "1.00", "2.00", "1.00", "!! time"]);
        assert_eq!(row(1.1)[6], "ok");
    }

    #[test]
    fn the_shortest_step_of_all_rounds_counts() {
        let quiet = line(Case::Text, Axis::Tokens, &runs(1.0, 1.0));
        let mut both = runs(1.0, 3.0);
        both.extend(runs(1.0, 1.0));
        assert_eq!(line(Case::Text, Axis::Tokens, &both).costs, quiet.costs);
    }
}

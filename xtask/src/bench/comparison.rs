//! What rounds of measurements say: summaries, ratios, the table.

use std::fmt;

use indicatif::HumanCount;
use serde::Serialize;

use super::columns::align;
use super::measured::StepRun;
use super::workload::Workload;

/// A program that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// `d2v bench-step`.
    D2v,
    /// The step written by hand in PyTorch.
    Lean,
    /// The same by torch.compile.
    LeanCompiled,
    /// With the models of the package transformers.
    Hf,
    /// The same by torch.compile.
    HfCompiled,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::D2v => "d2v",
            Self::Lean => "lean",
            Self::LeanCompiled => "lean, compiled",
            Self::Hf => "hf",
            Self::HfCompiled => "hf, compiled",
        })
    }
}

/// All runs of one program on one case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) program: Program,
    /// In the order of the rounds.
    pub(crate) runs: Vec<StepRun>,
    /// Why there are no more of them.
    pub(crate) failure: Option<String>,
    pub(crate) summary: Option<Summary>,
    /// d2v against this program; absent for d2v itself.
    pub(crate) ratio: Option<Ratio>,
}

impl Series {
    /// Before the first round.
    pub(crate) fn new(program: Program) -> Self {
        Self { program, runs: Vec::new(), failure: None, summary: None, ratio: None }
    }
}

/// Middle and ends of a program's runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Median over the rounds of each run's median.
    pub(crate) ms: f64,
    /// Shortest step of all rounds.
    pub(crate) ms_min: f64,
    /// Longest.
    pub(crate) ms_max: f64,
    pub(crate) samples_per_s: f64,
    pub(crate) tflops: f64,
    /// Achieved rate over that of large products.
    pub(crate) share_of_ceiling: f64,
    /// Highest of all rounds.
    pub(crate) peak_mib: f64,
}

/// d2v against another program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Its time over d2v's, median over the rounds, each round's pair by itself: above 1, d2v is faster.
    pub(crate) speed: f64,
    /// Lowest of the rounds.
    pub(crate) speed_min: f64,
    /// Highest.
    pub(crate) speed_max: f64,
    /// d2v's peak memory over its: below 1, d2v needs less.
    pub(crate) memory: f64,
}

/// One case with all its programs, d2v first.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) series: Vec<Series>,
}

impl Comparison {
    /// Computes summaries and ratios anew from the runs.
    pub(crate) fn summarise(&mut self, ceiling_tflops: f64) {
        let ours = self.series.first().map(|series| series.runs.clone()).unwrap_or_default();
        for series in &mut self.series {
            series.summary = summary(&series.runs, ceiling_tflops);
            series.ratio = (series.program != Program::D2v).then(|| ratio(&ours, &series.runs)).flatten();
        }
    }

    fn title(&self) -> String {
        let tokens = self.series.iter().find_map(|series| series.runs.first()).map(|run| run.tokens);
        let tokens = tokens.map_or(String::new(), |tokens| format!(" x {tokens} tokens"));
        format!("{}, {}{tokens}", self.workload.case, self.workload.batch)
    }
}

fn summary(runs: &[StepRun], ceiling_tflops: f64) -> Option<Summary> {
    let of = |value: fn(&StepRun) -> f64| runs.iter().map(value);
    let tflops = median(of(|run| run.tflops))?;
    Some(Summary {
        ms: median(of(|run| run.ms_per_step))?,
        ms_min: of(|run| run.ms_min).fold(f64::INFINITY, f64::min),
        ms_max: of(|run| run.ms_max).fold(0.0, f64::max),
        samples_per_s: median(of(|run| run.samples_per_s))?,
        tflops,
        share_of_ceiling: tflops / ceiling_tflops,
        peak_mib: of(|run| run.peak_mib).fold(0.0, f64::max),
    })
}

/// Runs of the same round are compared with each other, as both saw the machine as it was then.
fn ratio(ours: &[StepRun], theirs: &[StepRun]) -> Option<Ratio> {
    let pairs = || ours.iter().zip(theirs);
    let speeds = || pairs().map(|(ours, theirs)| theirs.ms_per_step / ours.ms_per_step);
    Some(Ratio {
        speed: median(speeds())?,
        speed_min: speeds().fold(f64::INFINITY, f64::min),
        speed_max: speeds().fold(0.0, f64::max),
        memory: median(pairs().map(|(ours, theirs)| ours.peak_mib / theirs.peak_mib))?,
    })
}

/// The middle value, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// All cases in one table, failures in their rows.
pub(crate) fn table(comparisons: &[Comparison]) -> String {
    let headers = [
        "case",
        "program",
        "ms/step",
        "from - to",
        "samples/s",
        "TFLOP/s",
        "of ceiling",
        "MiB",
        "d2v's speed",
        "d2v's memory",
    ];
    let mut rows = vec![headers.map(str::to_owned).to_vec()];
    for comparison in comparisons {
        let mut title = comparison.title();
        for series in &comparison.series {
            if let Some(summary) = &series.summary {
                rows.push(numbers(std::mem::take(&mut title), series, summary));
            }
            if let Some(why) = &series.failure {
                let failure = format!("failed in round {}: {why}", series.runs.len() + 1);
                rows.push(vec![std::mem::take(&mut title), series.program.to_string(), failure]);
            }
        }
    }
    align(&rows)
}

fn numbers(title: String, series: &Series, summary: &Summary) -> Vec<String> {
    let mut row = vec![title, series.program.to_string()];
    row.extend([
        milliseconds(summary.ms),
        format!("{} - {}", milliseconds(summary.ms_min), milliseconds(summary.ms_max)),
        format!("{:.2}", summary.samples_per_s),
        format!("{:.3}", summary.tflops),
        format!("{:.0} %", 100.0 * summary.share_of_ceiling),
        HumanCount(summary.peak_mib as u64).to_string(),
    ]);
    match &series.ratio {
        Some(Ratio { speed, speed_min, speed_max, memory }) => {
            row.extend([format!("{speed:.2} ({speed_min:.2} - {speed_max:.2})"), format!("{memory:.2}")]);
        }
        None => row.extend(["".to_owned(), "".to_owned()]),
    }
    row
}

/// Four digits or so: `12.35`, `531.2`, `4,453`.
pub(crate) fn milliseconds(value: f64) -> String {
    match value {
        ..100.0 => format!("{value:.2}"),
        ..1000.0 => format!("{value:.1}"),
        _ => HumanCount(value.round() as u64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::step_run;
    use super::super::workload::{Case, Precision, Size};
    use super::*;

    fn compared(ours: &[f64], theirs: &[f64]) -> Comparison {
        let workload = Workload {
            case: Case::Image,
            size: Size::Base,
            batch: 8,
            seconds: 5.0,
            device: "cpu".to_owned(),
            precision: Precision::F32,
            steps: 5,
            warmup: 1,
            threads: 2,
        };
        let series = |program, times: &[f64], mib| Series {
            runs: times.iter().map(|&ms| step_run(ms, mib)).collect(),
            ..Series::new(program)
        };
        let mut comparison = Comparison {
            workload,
            series: vec![series(Program::D2v, ours, 900.0), series(Program::Lean, theirs, 1000.0)],
        };
        comparison.summarise(0.5);
        comparison
    }

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 8.0], Some(3.0)),
        ] {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn rounds_are_compared_by_themselves() {
        // The machine was half as fast in the second round, for both.
        let comparison = compared(&[1000.0, 2000.0, 1000.0], &[1200.0, 2400.0, 1300.0]);
        let ratio = comparison.series[1].ratio.clone().unwrap();
        assert_eq!((ratio.speed, ratio.speed_min, ratio.speed_max), (1.2, 1.2, 1.3));
        assert_eq!(ratio.memory, 0.9);
        let summary = comparison.series[0].summary.clone().unwrap();
        assert_eq!((summary.ms, summary.ms_min, summary.ms_max), (1000.0, 900.0, 2200.0));
        assert!((summary.share_of_ceiling - 0.2).abs() < 1e-12, "0.1 of 0.5 TFLOP/s: {summary:?}");
        assert_eq!(comparison.series[0].ratio, None, "nothing is compared with itself");
    }

    #[test]
    fn a_round_that_broke_off_counts_where_both_ran() {
        assert_eq!(compared(&[1000.0, 3000.0], &[1500.0]).series[1].ratio.as_ref().unwrap().speed, 1.5);
        assert_eq!(compared(&[1000.0], &[]).series[1].ratio, None);
    }

    #[test]
    fn the_table_shows_numbers_or_the_reason() {
        let mut comparison = compared(&[4453.0], &[]);
        comparison.series[1].failure = Some("no module torch".to_owned());
        let text = table(&[comparison, compared(&[50.0], &[60.0])]);
        for part in [
            "image, 8 x 196 tokens",
            "4,453",
            "failed in round 1: no module torch",
            "1.20 (1.20 - 1.20)",
            "0.90",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }
}

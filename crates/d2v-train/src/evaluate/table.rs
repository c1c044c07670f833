//! A probe report as a table for people.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::features::FeatureName;
use super::intervals::{Difference, Interval, Mean};
use super::report::{Comparison, Entry, ProbeReport, Role};
use super::score::{NetworkKind, Probe, Score};

/// Columns before those of the runs.
pub const LABEL_COLUMNS: usize = 3;

/// Headers, rows of as many cells, and remarks; [`Display`](fmt::Display) aligns the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    /// One header per column.
    pub headers: Vec<String>,
    /// Rows from top to bottom.
    pub rows: Vec<Vec<String>>,
    /// What the numbers are and what they do not say.
    pub notes: Vec<String>,
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        // The width of the terminal does not matter: a wrapped number cannot be read, a cut line can be scrolled.
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.headers);
        table.add_rows(&self.rows);
        for column in table.column_iter_mut().skip(LABEL_COLUMNS) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

impl ProbeReport {
    /// The report as text: a row per probe, features and network, then the differences; a column per run, then the
    /// mean over runs where there are several. Numbers are percent, or points of percent where they are signed.
    pub fn table(&self) -> TextTable {
        let several = self.runs.iter().filter(|run| run.role == Role::Run).count();
        let mut headers: Vec<String> = ["probe", "features", "network"].map(str::to_owned).into();
        headers.extend(self.runs.iter().map(|run| match run.role {
            Role::Run => run.name.clone(),
            Role::Control => format!("{} (control)", run.name),
        }));
        if several > 1 {
            headers.push(format!("mean of {several} runs"));
        }
        let rows = Keys::of(self).rows(|probe, features, line| match line {
            Line::Network(network) => self.score_cells(probe, features, network, several > 1),
            Line::Comparison(comparison) => self.gain_cells(probe, features, comparison, several > 1),
        });
        TextTable { headers, rows: self.mark_headline(rows), notes: self.notes(several) }
    }

    fn score_cells(
        &self,
        probe: Probe,
        features: FeatureName,
        network: NetworkKind,
        mean: bool,
    ) -> Vec<String> {
        let is_it = |e: &&Entry| (e.probe, e.features, e.network) == (probe, features, network);
        let cell = |entry: Option<&Entry>| entry.map_or_else(absent, |entry| score_cell(&entry.score));
        let mut cells: Vec<String> =
            self.runs.iter().map(|run| cell(run.entries.iter().find(is_it))).collect();
        if mean {
            let found =
                self.means.iter().find(|m| (m.probe, m.features, m.network) == (probe, features, network));
            cells.push(found.map_or_else(absent, |found| mean_cell(&found.mean, percent)));
        }
        cells
    }

    fn gain_cells(
        &self,
        probe: Probe,
        features: FeatureName,
        comparison: Comparison,
        mean: bool,
    ) -> Vec<String> {
        let cell = |name: &String| {
            let found = self.gains.iter().find(|gain| {
                gain.run == *name
                    && (gain.probe, gain.features, gain.comparison) == (probe, features, comparison)
            });
            found.map_or_else(absent, |gain| gain_cell(&gain.difference))
        };
        let mut cells: Vec<String> = self.runs.iter().map(|run| cell(&run.name)).collect();
        if mean {
            let found = self
                .gain_means
                .iter()
                .find(|gain| (gain.probe, gain.features, gain.comparison) == (probe, features, comparison));
            cells.push(found.map_or_else(absent, |found| mean_cell(&found.mean, points)));
        }
        cells
    }

    /// Names the headline features where they first stand in a row, and leaves out what the row above says already.
    fn mark_headline(&self, rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
        let headline = self.headline.to_string();
        let mut above: Option<(String, String)> = None;
        let mut marked = rows;
        for row in &mut marked {
            let here = (row[0].clone(), row[1].clone());
            if row[1] == headline {
                row[1].push_str(" (headline)");
            }
            if let Some((probe, features)) = &above
                && *probe == here.0
            {
                row[0].clear();
                if *features == here.1 {
                    row[1].clear();
                }
            }
            above = Some(here);
        }
        marked
    }

    fn notes(&self, several: usize) -> Vec<String> {
        let mut notes = vec![
            format!(
                "Percent of {} test samples classified correctly; probes fitted to {} samples.",
                self.test_samples, self.train_samples
            ),
            "In brackets 95 % intervals: Wilson over test samples, for few labels Student's t over the draws.".into(),
            "Differences are paired on the same test samples (Agresti-Min) or draws.".into(),
            format!("The headline, fixed beforehand, is '{}' under the linear probe.", self.headline),
        ];
        if several > 1 {
            notes.push(
                "Means are over runs, ± one standard error: what another seed may change, if nothing but the seed \
                 differs."
                    .into(),
            );
        } else {
            notes.push("One run: the intervals do not cover what another training seed would change.".into());
        }
        let pairs: Vec<String> = self
            .runs
            .iter()
            .filter_map(|run| Some(format!("{} with {}", run.name, run.control.as_ref()?)))
            .collect();
        if !pairs.is_empty() {
            notes.push(format!("Each run is compared with a control of its own: {}.", pairs.join(", ")));
        }
        if self.runs.iter().flat_map(|run| &run.entries).any(|entry| entry.score.unfinished_fits > 0) {
            notes.push("* A fit ran out of steps before its gradient met the tolerance.".into());
        }
        notes
    }
}

/// The labels of a report's rows, each list in order of first appearance.
struct Keys {
    probes: Vec<Probe>,
    features: Vec<FeatureName>,
    networks: Vec<NetworkKind>,
    comparisons: Vec<Comparison>,
}

/// What a row shows of its probe and features.
enum Line {
    Network(NetworkKind),
    Comparison(Comparison),
}

impl Keys {
    fn of(report: &ProbeReport) -> Self {
        let entries = || report.runs.iter().flat_map(|run| &run.entries);
        Self {
            probes: distinct(entries().map(|entry| entry.probe)),
            features: distinct(entries().map(|entry| entry.features)),
            networks: distinct(entries().map(|entry| entry.network)),
            comparisons: distinct(report.gains.iter().map(|gain| gain.comparison)),
        }
    }

    fn rows(&self, cells: impl Fn(Probe, FeatureName, Line) -> Vec<String>) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let pairs =
            || self.probes.iter().flat_map(|probe| self.features.iter().map(move |name| (*probe, *name)));
        let mut add = |probe: Probe, name: FeatureName, label: String, line| {
            let mut row = vec![probe.to_string(), name.to_string(), label];
            row.extend(cells(probe, name, line));
            rows.push(row);
        };
        for (probe, name) in pairs() {
            for network in &self.networks {
                add(probe, name, network.to_string(), Line::Network(*network));
            }
        }
        for (probe, name) in pairs() {
            for comparison in &self.comparisons {
                add(probe, name, comparison.to_string(), Line::Comparison(*comparison));
            }
        }
        rows
    }
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

fn absent() -> String {
    "-".into()
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share)
}

fn range(interval: Interval, number: fn(f64) -> String) -> String {
    format!("[{}, {}]", number(interval.low), number(interval.high))
}

fn score_cell(score: &Score) -> String {
    let mark = if score.unfinished_fits > 0 { "*" } else { "" };
    format!("{}{mark} {}", percent(score.accuracy), range(score.interval, percent))
}

fn gain_cell(gain: &Difference) -> String {
    format!("{} {}", points(gain.difference), range(gain.interval, points))
}

fn mean_cell(mean: &Mean, number: fn(f64) -> String) -> String {
    match mean.standard_error {
        Some(error) => format!("{} ± {}", number(mean.mean), percent(error)),
        None => number(mean.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::super::report::RunScores;
    use super::super::score::ProbeSettings;
    use super::*;

    fn report(roles: &[Role]) -> ProbeReport {
        let settings = ProbeSettings { few_labels: None, ..Default::default() };
        let runs = roles.iter().zip(1..).map(|(role, seed)| {
            let mut run = RunScores::new(format!("run-{seed}"), *role);
            for (network, distance) in [(NetworkKind::Student, 4.0), (NetworkKind::Random, 0.5)] {
                let mut set = planted::gaussians(3, 30, 6, distance, seed);
                for name in [FeatureName::Average, FeatureName::Last] {
                    set.name = name;
                    run.add(network, &set, &settings).expect("a good problem");
                }
            }
            run
        });
        ProbeReport::compare(FeatureName::Average, settings, runs.collect()).expect("comparable")
    }

    #[test]
    fn one_run_has_one_column_and_a_warning() {
        let table = report(&[Role::Run]).table();
        assert_eq!(table.headers, ["probe", "features", "network", "run-1"]);
        // Two probes, two kinds of features, two networks; then one comparison each.
        assert_eq!(table.rows.len(), 2 * 2 * 2 + 2 * 2);
        assert_eq!(table.rows[0][..3], ["linear", "average (headline)", "student"]);
        assert_eq!(table.rows[1][..3], ["", "", "random init"]);
        assert_eq!(table.rows[2][..3], ["", "last", "student"]);
        assert_eq!(table.rows[8][..3], ["linear", "average (headline)", "student - random init"]);
        assert!(table.rows[8][3].starts_with('+'), "{:?}", table.rows[8]);
        assert!(table.notes.iter().any(|note| note.starts_with("One run")));
    }

    #[test]
    fn several_runs_get_a_mean_and_the_control_stays_out_of_it() {
        let table = report(&[Role::Run, Role::Run, Role::Control]).table();
        assert_eq!(table.headers[3..], ["run-1", "run-2", "run-3 (control)", "mean of 2 runs"]);
        let over_control =
            table.rows.iter().find(|row| row[2] == "student - control").expect("a control was given");
        assert_eq!(over_control[5], "-");
        assert!(over_control[6].contains('±'));
        let text = table.to_string();
        assert!(table.rows.iter().flatten().all(|cell| text.contains(cell.as_str())));
    }
}

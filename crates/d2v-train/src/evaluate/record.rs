//! `probe.json`: the last probe of a run, kept in its folder for programs to read and for `report.html`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::probe_data::{ProbeData, TestPart};
use super::report::ProbeReport;
use super::table::{LABEL_COLUMNS, TextTable};
use super::trained::TrainedRun;
use crate::atomic_file::write_atomically;
use crate::report::ProbeTable;
use crate::{Error, Result, machine};

/// The file's name within a run folder.
pub const PROBE_FILE: &str = "probe.json";

/// A probe's report, and what it is a report of.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeRecord {
    /// The labelled data.
    pub data: ProbedData,
    /// What of each run was probed, in the order of the report's runs.
    pub checkpoints: Vec<ProbedCheckpoint>,
    /// Versions of the program and of libtorch.
    pub versions: BTreeMap<String, String>,
    /// Scores and differences.
    #[serde(flatten)]
    pub report: ProbeReport,
    /// The same for the run's page.
    pub table: ProbeTable,
}

/// The labelled data of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbedData {
    /// Where it lies; absent: the built-in data set.
    pub path: Option<PathBuf>,
    /// Where the test samples come from.
    pub test_part: TestPart,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
}

/// One run of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbedCheckpoint {
    /// The run's name in the report.
    pub run: String,
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// Updates that the run had done.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
}

impl ProbedCheckpoint {
    /// What is told of a run.
    pub fn of(run: &TrainedRun) -> Self {
        let TrainedRun { name, checkpoint, step, config, .. } = run;
        Self { run: name.clone(), folder: checkpoint.clone(), step: *step, seed: config.seed }
    }
}

impl ProbeRecord {
    /// Puts a report together with what it is a report of.
    pub fn new(
        path: Option<PathBuf>,
        data: &ProbeData,
        checkpoints: Vec<ProbedCheckpoint>,
        report: ProbeReport,
    ) -> Self {
        let data = ProbedData { path, test_part: data.test_part, classes: data.classes.clone() };
        let table = page_table(&text_table(&data, &checkpoints, &report));
        Self { data, checkpoints, versions: machine::versions(), report, table }
    }

    /// The report as text.
    pub fn text(&self) -> TextTable {
        text_table(&self.data, &self.checkpoints, &self.report)
    }

    /// Writes `probe.json` into a run's folder, replacing an older one.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn save(&self, run: &Path) -> Result<()> {
        let path = run.join(PROBE_FILE);
        write_atomically(&path, |file| Ok(serde_json::to_writer_pretty(file, self)?))
            .map_err(|source| Error::Io { path, source })
    }
}

/// The report's own table, and in its remarks the data and the checkpoints.
fn text_table(data: &ProbedData, checkpoints: &[ProbedCheckpoint], report: &ProbeReport) -> TextTable {
    let mut table = report.table();
    let place = data.path.as_ref().map_or("the built-in data".to_owned(), |path| path.display().to_string());
    let part = match data.test_part {
        TestPart::Given => "its own test part",
        TestPart::HeldOutGroups => {
            "tested on groups of which the probe was fitted to no sample; the networks may have seen them in training, \
             though never their labels"
        }
        TestPart::HeldOut => {
            "having no test part, tested on a fifth of the training part, chosen by sample id; the networks may have \
             seen these inputs in training, though never their labels"
        }
    };
    table.notes.insert(0, format!("Data: {place}, {} classes, {part}.", data.classes.len()));
    let steps = checkpoints.iter().map(|probed| format!("{} after {} updates", probed.run, probed.step));
    table.notes.insert(1, format!("Probed: {}.", steps.collect::<Vec<_>>().join(", ")));
    table
}

/// The same with one label per row, which a page can show as its heading.
fn page_table(text: &TextTable) -> ProbeTable {
    let mut label = vec![String::new(); LABEL_COLUMNS];
    let rows = text.rows.iter().map(|row| {
        let (labels, cells) = row.split_at(LABEL_COLUMNS);
        // An empty label stands for the one above.
        for (above, here) in label.iter_mut().zip(labels).filter(|(_, here)| !here.is_empty()) {
            above.clone_from(here);
        }
        std::iter::once(label.join(" · ")).chain(cells.iter().cloned()).collect()
    });
    let rows = rows.collect();
    let headers = std::iter::once(text.headers[..LABEL_COLUMNS].join(" · "));
    let headers = headers.chain(text.headers[LABEL_COLUMNS..].iter().cloned()).collect();
    ProbeTable { headers, rows, note: text.notes.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_page_says_all_that_the_text_leaves_out() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let text = TextTable {
            headers: row(["probe", "features", "network", "run"]),
            rows: vec![
                row(["linear", "average", "student", "1"]),
                row(["", "", "teacher", "2"]),
                row(["", "last", "student", "3"]),
            ],
            notes: vec!["One.".into(), "Two.".into()],
        };
        let page = page_table(&text);
        assert_eq!(page.headers, ["probe · features · network", "run"]);
        let expected = [
            ["linear · average · student", "1"],
            ["linear · average · teacher", "2"],
            ["linear · last · student", "3"],
        ];
        assert_eq!(page.rows, expected);
        assert_eq!(page.note, "One. Two.");
    }
}

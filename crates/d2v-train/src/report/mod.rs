//! `report.html`: a run on one page, in one file that opens anywhere, offline.
//!
//! Everything that can be remade comes from the run folder; what needs the data or the network ([`ReportExtras`]) is
//! handed in. Reading order: this file gathers, `curves` chooses what is drawn, `chart` draws it, `masked` shows samples,
//! `page` sets it all.

mod chart;
mod curves;
mod masked;
mod page;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::write_atomically;
use crate::masked_words::MaskedWords;
use crate::metrics::{StepMetrics, read_metrics};
use crate::output_error::OutputError;
use crate::sessions::{Session, read_sessions};

/// The file's name within a run folder.
pub const REPORT_FILE: &str = "report.html";

/// The resolved configuration's name within a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// What the run folder does not hold.
#[derive(Clone, Debug, Default)]
pub struct ReportExtras {
    /// Samples of the data with their masks.
    pub masked: Option<MaskedSamples>,
    /// The probe's results; without them the report says how to get them.
    pub probe: Option<ProbeTable>,
}

/// Samples with their masks, ready to be shown.
#[derive(Clone, Debug)]
pub enum MaskedSamples {
    /// Pictures on one sheet.
    Pictures(Picture),
    /// Waveforms on one sheet.
    Sounds(Picture),
    /// Texts, and one or two sentences below them.
    Words {
        /// The texts.
        texts: Vec<MaskedWords>,
        /// The sentences.
        caption: String,
    },
}

/// A picture to be embedded.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The encoded PNG.
    pub png: Vec<u8>,
    /// One or two sentences below it.
    pub caption: String,
}

/// A table of any probe, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTable {
    /// The columns' headings; the first column names the row.
    pub headers: Vec<String>,
    /// The rows' cells.
    pub rows: Vec<Vec<String>>,
    /// How the figures were made: data, numbers of samples, the meaning of the intervals.
    pub note: String,
}

/// A run folder, read.
#[derive(Debug)]
struct RunRecord {
    name: String,
    metrics: Vec<StepMetrics>,
    sessions: Vec<Session>,
    config: Option<String>,
}

/// Writes `report.html` into the run folder `run`, replacing an older one, and returns its path.
///
/// A run that has recorded nothing yet gets a report that says so.
///
/// # Errors
/// When the folder's records cannot be read or are damaged, or the report cannot be drawn or written.
pub fn write_report(run: &Path, extras: &ReportExtras) -> Result<PathBuf, OutputError> {
    let record = RunRecord::read(run)?;
    let html = page::render(&record, extras)?;
    let path = run.join(REPORT_FILE);
    write_atomically(&path, |file| file.write_all(html.as_bytes()))
        .map_err(OutputError::io("write", &path))?;
    Ok(path)
}

impl RunRecord {
    fn read(run: &Path) -> Result<Self, OutputError> {
        // The folder's own name even when it is given as "." or through a link.
        let folder = run.canonicalize().map_err(OutputError::io("open", run))?;
        let name =
            folder.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        let config_path = run.join(CONFIG_FILE);
        let config = match fs::read_to_string(&config_path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(OutputError::io("read", &config_path)(error)),
        };
        Ok(Self { name, metrics: read_metrics(run)?, sessions: read_sessions(run)?, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collapse::{RunState, Scenario, Stage, Verdict};
    use crate::metrics::{MetricsLog, StageMetrics};
    use crate::sessions::record_session;
    use std::collections::BTreeMap;

    /// A run of `steps` updates, resumed once, measured by the watch at every tenth.
    fn record(run: &Path, steps: u64) {
        for from_step in [0, 20] {
            let versions = BTreeMap::from([("libtorch".to_owned(), "2.11.0".to_owned())]);
            record_session(run, &Session::now(from_step, "2 threads of <a processor>".into(), versions))
                .unwrap();
        }
        let mut log = MetricsLog::open(run, 0).unwrap();
        for step in 1..=steps {
            let watched = (step % 10 == 0).then_some(0.5);
            let stages = [Stage::FrontEnd, Stage::Block(1)].map(|stage| StageMetrics {
                stage,
                raw_std: 0.5,
                effective_rank: 12.0,
                token_cosine: Some(0.25),
                sample_cosine: None,
                position_share: Some(0.375),
            });
            let metrics = StepMetrics {
                step,
                samples: step * 64,
                loss: 1.0 / step as f64,
                seconds: step as f64,
                effective_rank: watched.map(|value| value * 24.0),
                position_share: watched,
                r2: watched,
                verdict: watched.map(|_| verdict(step, RunState::Healthy)),
                stages: if watched.is_some() { stages.to_vec() } else { Vec::new() },
                ..Default::default()
            };
            log.append(&metrics).unwrap();
        }
    }

    fn verdict(step: u64, state: RunState) -> Verdict {
        let healthy = state == RunState::Healthy;
        Verdict {
            step,
            state,
            scenario: (!healthy).then_some(Scenario::Tau),
            evidence: if healthy {
                vec![]
            } else {
                vec!["position explains 0.9 > 0.7 of the targets".into()]
            },
            advice: if healthy { String::new() } else { "Raise tau.".into() },
        }
    }

    fn report(run: &Path, extras: &ReportExtras) -> String {
        fs::read_to_string(write_report(run, extras).unwrap()).unwrap()
    }

    fn extras() -> ReportExtras {
        ReportExtras {
            masked: Some(MaskedSamples::Pictures(Picture {
                png: b"not really a picture".to_vec(),
                caption: "Four <masks>".into(),
            })),
            probe: Some(ProbeTable {
                headers: vec!["features".into(), "accuracy".into()],
                rows: vec![vec!["student".into(), "81.2 ± 0.8 %".into()]],
                note: "10,000 & 5,000 samples".into(),
            }),
        }
    }

    #[test]
    fn everything_is_on_the_page() {
        let run = tempfile::tempdir().unwrap();
        record(run.path(), 40);
        fs::write(run.path().join(CONFIG_FILE), "name = \"<b>tiny</b>\"\n").unwrap();
        let html = report(run.path(), &extras());
        for expected in [
            "Healthy",
            "no sign of collapse",
            "40 s",
            "2,560",
            "81.2 ± 0.8 %",
            "block_1",
            "Position share",
            "0.375",
            "libtorch",
            "2.11.0",
            "data:image/png;base64,bm90IHJlYWxseSBhIHBpY3R1cmU=",
            "resumed",
        ] {
            assert!(html.contains(expected), "{expected:?} is missing");
        }
        assert!(html.matches("<svg").count() >= 8, "a chart is missing");
    }

    #[test]
    fn foreign_text_is_escaped() {
        let run = tempfile::tempdir().unwrap();
        record(run.path(), 10);
        fs::write(run.path().join(CONFIG_FILE), "name = \"</pre><script>alert(1)</script>\"\n").unwrap();
        let html = report(run.path(), &extras());
        for (raw, escaped) in [
            ("<script>", "&lt;script&gt;"),
            ("<masks>", "&lt;masks&gt;"),
            ("<a processor>", "&lt;a processor&gt;"),
            ("10,000 & 5,000", "10,000 &amp; 5,000"),
        ] {
            assert!(!html.contains(raw), "{raw:?} came through");
            assert!(html.contains(escaped), "{escaped:?} is missing");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let run = tempfile::tempdir().unwrap();
        record(run.path(), 10);
        let html = report(run.path(), &extras());
        for resource in ["<script", "<link", "@import", "src=\"http", "href=\"http", "url(http"] {
            assert!(!html.contains(resource), "{resource:?} found");
        }
    }

    #[test]
    fn a_run_without_steps_gets_a_report_that_says_so() {
        let run = tempfile::tempdir().unwrap();
        let html = report(run.path(), &ReportExtras::default());
        assert!(html.contains("No step has been recorded"));
        assert!(html.contains("d2v probe"), "how to get the probe's table is missing");
    }

    #[test]
    fn a_verdict_is_told_with_its_evidence_and_not_forgotten() {
        let run = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(run.path(), 0).unwrap();
        let mut append = |step, state| {
            let metrics = StepMetrics { step, verdict: Some(verdict(step, state)), ..Default::default() };
            log.append(&metrics).unwrap();
        };
        append(1, RunState::Healthy);
        append(2, RunState::Collapsed);
        let html = report(run.path(), &ReportExtras::default());
        for expected in ["Collapsed", "position explains 0.9 &gt; 0.7 of the targets", "Raise tau."] {
            assert!(html.contains(expected), "{expected:?} is missing");
        }
        append(3, RunState::Suspicious);
        append(4, RunState::Healthy);
        let html = report(run.path(), &ReportExtras::default());
        assert!(html.contains("Healthy"));
        assert!(html.contains("collapsed at update 2"), "what came before is forgotten");
    }

    #[test]
    fn a_run_that_diverged_gets_a_report() {
        let run = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(run.path(), 0).unwrap();
        for step in 1..=5 {
            let metrics =
                StepMetrics { step, loss: f64::NAN, grad_norm: f64::INFINITY, ..Default::default() };
            log.append(&metrics).unwrap();
        }
        let html = report(run.path(), &ReportExtras::default());
        assert!(html.contains("not one finite value"));
    }

    #[test]
    fn long_runs_make_small_pages() {
        let run = tempfile::tempdir().unwrap();
        record(run.path(), 20_000);
        let html = report(run.path(), &ReportExtras::default());
        assert!(html.len() < 600_000, "{} bytes", html.len());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write_report(Path::new("/nowhere/run-7"), &ReportExtras::default()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/run-7"), "{error}");
    }
}

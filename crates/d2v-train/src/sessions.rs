//! `sessions.jsonl`: when, where and with what a run was started and resumed.
//!
//! A run may be carried on by another program version or on another machine. The report names them all, whenever and
//! wherever it is made.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::json_lines::{self, JsonLines};
use crate::output_error::OutputError;

/// The file's name within a run folder.
pub const SESSIONS_FILE: &str = "sessions.jsonl";

/// One start of the program on a run folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When it started: UTC, RFC 3339, whole seconds.
    pub started: String,
    /// Updates finished before it: 0 for a fresh run, otherwise the step of the checkpoint it went on from.
    pub from_step: u64,
    /// Where it ran, in words: processor, threads, memory, device.
    pub machine: String,
    /// What it ran with: name ("d2v", "libtorch") to version.
    pub versions: BTreeMap<String, String>,
}

impl Session {
    /// A session that starts now.
    pub fn now(from_step: u64, machine: String, versions: BTreeMap<String, String>) -> Self {
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Self { started, from_step, machine, versions }
    }
}

/// Records a session in the run folder `run`.
///
/// # Errors
/// When the file cannot be written, or is damaged other than at its end.
pub fn record_session(run: &Path, session: &Session) -> Result<(), OutputError> {
    let (mut lines, _) = JsonLines::open(&run.join(SESSIONS_FILE), |_: &Session| true)?;
    lines.append(session)?;
    lines.sync()
}

/// The sessions of the run in folder `run`, oldest first.
///
/// # Errors
/// When the file cannot be read, or is damaged other than at its end.
pub fn read_sessions(run: &Path) -> Result<Vec<Session>, OutputError> {
    json_lines::read(&run.join(SESSIONS_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_kept_in_order() {
        let run = tempfile::tempdir().unwrap();
        assert!(read_sessions(run.path()).unwrap().is_empty());
        let versions = BTreeMap::from([("d2v".to_owned(), "0.1.0".to_owned())]);
        let sessions =
            [0, 40, 40].map(|from_step| Session::now(from_step, "2 threads".into(), versions.clone()));
        for session in &sessions {
            record_session(run.path(), session).unwrap();
        }
        assert_eq!(read_sessions(run.path()).unwrap(), sessions);
    }

    #[test]
    fn the_time_is_utc_to_the_second() {
        let started = Session::now(0, String::new(), BTreeMap::new()).started;
        assert_eq!(started.len(), "2026-01-31T23:59:59Z".len());
        assert!(humantime::parse_rfc3339(&started).is_ok(), "{started}");
    }
}

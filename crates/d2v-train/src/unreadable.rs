//! `unreadable.json`: the samples of a run that could not be read, and why.

use crate::Result;
use crate::atomic_file::write_atomically;
use crate::output_error::OutputError;
use d2v_data::Skipped;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name within a run folder; absent while every sample could be read.
pub const UNREADABLE_FILE: &str = "unreadable.json";

/// The list, over all sessions of a run: by name, each sample once, with the reason last seen.
#[derive(Debug)]
pub struct UnreadableList {
    path: PathBuf,
    reasons: BTreeMap<String, String>,
}

impl UnreadableList {
    /// Takes over what earlier sessions listed in the folder `run`.
    ///
    /// # Errors
    /// If there is a file that cannot be read, or that is no such list.
    pub fn open(run: &Path) -> std::result::Result<UnreadableList, OutputError> {
        let path = run.join(UNREADABLE_FILE);
        let listed: Vec<Skipped> = match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| OutputError::io("read", &path)(error.into()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(OutputError::io("read", &path)(error)),
        };
        let reasons = listed.into_iter().map(|Skipped { name, reason }| (name, reason)).collect();
        Ok(UnreadableList { path, reasons })
    }

    /// Adds samples, and writes the file if any of them is new.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&mut self, skipped: Vec<Skipped>) -> std::result::Result<(), OutputError> {
        let before = self.reasons.len();
        self.reasons.extend(skipped.into_iter().map(|Skipped { name, reason }| (name, reason)));
        if self.reasons.len() == before {
            return Ok(());
        }
        let list =
            self.reasons.iter().map(|(name, reason)| Skipped { name: name.clone(), reason: reason.clone() });
        let list: Vec<Skipped> = list.collect();
        write_atomically(&self.path, |file| Ok(serde_json::to_writer_pretty(file, &list)?))
            .map_err(OutputError::io("write", &self.path))
    }

    /// As [`add`](UnreadableList::add), and holds the list against the limit over all sessions of the run: a loader counts
    /// those of its own session alone.
    ///
    /// A session that met nothing unreadable passes: the data may have been mended since.
    ///
    /// # Errors
    /// [`d2v_data::Error::TooManyUnreadable`]; if the file cannot be written.
    pub fn add_within(&mut self, skipped: Vec<Skipped>, limit: usize) -> Result<()> {
        let newest = skipped.last().cloned();
        self.add(skipped)?;
        match newest {
            Some(Skipped { name, reason }) if self.len() > limit => {
                Err(d2v_data::Error::TooManyUnreadable { count: self.len(), limit, name, reason }.into())
            }
            _ => Ok(()),
        }
    }

    /// Number of samples listed.
    pub fn len(&self) -> usize {
        self.reasons.len()
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Where the list is, once it has an entry.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(names: &[&str]) -> Vec<Skipped> {
        names.iter().map(|name| Skipped { name: (*name).into(), reason: "it is text".into() }).collect()
    }

    #[test]
    fn sessions_add_to_one_list() {
        let run = tempfile::tempdir().unwrap();
        let read = || -> Vec<Skipped> {
            serde_json::from_slice(&std::fs::read(run.path().join(UNREADABLE_FILE)).unwrap()).unwrap()
        };
        let mut first = UnreadableList::open(run.path()).unwrap();
        first.add(Vec::new()).unwrap();
        assert!(first.is_empty() && !first.path().exists(), "nothing to list");
        first.add(skipped(&["b.png", "a.png"])).unwrap();
        assert_eq!(read(), skipped(&["a.png", "b.png"]));
        // A session that goes on meets some of them again, and others.
        let mut second = UnreadableList::open(run.path()).unwrap();
        second.add(skipped(&["b.png", "c.png"])).unwrap();
        assert_eq!(read(), skipped(&["a.png", "b.png", "c.png"]));
        assert_eq!(second.len(), 3);
    }

    #[test]
    fn the_limit_is_over_all_sessions() {
        let run = tempfile::tempdir().unwrap();
        UnreadableList::open(run.path()).unwrap().add_within(skipped(&["a.png", "b.png"]), 2).unwrap();
        let mut second = UnreadableList::open(run.path()).unwrap();
        second.add_within(skipped(&["b.png"]), 2).unwrap();
        let error = second.add_within(skipped(&["c.png"]), 2).unwrap_err().to_string();
        assert!(
            error.contains("3 unreadable samples, more than the limit of 2; the last is c.png"),
            "{error}"
        );
        let mut third = UnreadableList::open(run.path()).unwrap();
        third.add_within(Vec::new(), 2).expect("the data was mended");
        third.add_within(skipped(&["a.png"]), 3).expect("or the limit raised");
        assert!(third.add_within(skipped(&["a.png"]), 2).is_err(), "but not where it is met again");
    }

    #[test]
    fn a_file_that_is_no_list_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(UNREADABLE_FILE), "{").unwrap();
        let error = UnreadableList::open(run.path()).unwrap_err().to_string();
        assert!(error.contains(UNREADABLE_FILE), "{error}");
    }
}

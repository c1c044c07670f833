//! Files of one JSON value per line, which grow by appending and survive a kill at any moment.
//!
//! A line counts once its line feed is written. What a kill leaves behind, a torn last line, is ignored when reading
//! and removed before anything is appended; damage anywhere else is an error, since it is no kill's doing.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output_error::OutputError;

/// Reads every whole line; a file that does not exist has none.
///
/// # Errors
/// [`OutputError::DamagedLine`] for a line that is not a `T` though whole lines follow; [`OutputError::Io`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, OutputError> {
    let mut values = Vec::new();
    if let Some(file) = open_if_there(path)? {
        scan(path, file, |value, _| values.push(value))?;
    }
    Ok(values)
}

/// A file open for appending.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    /// Opens or creates the file at `path`; of its lines, those up to the first for which `keep` is false stay.
    ///
    /// The rest, and a torn end, are cut off in one step: a kill meanwhile leaves the file as it was or cut, and doing
    /// it again does no harm. Returns the file and the number of whole lines removed.
    ///
    /// # Errors
    /// [`OutputError::OutOfOrder`] when `keep` is true again after it was false; otherwise as [`read`].
    pub fn open<T: DeserializeOwned>(
        path: &Path,
        mut keep: impl FnMut(&T) -> bool,
    ) -> Result<(Self, u64), OutputError> {
        let mut kept_bytes = 0;
        let (mut line, mut removed) = (0, 0);
        let mut out_of_order = None;
        if let Some(file) = open_if_there(path)? {
            scan(path, file, |value: T, end| {
                line += 1;
                match (keep(&value), removed) {
                    (true, 0) => kept_bytes = end,
                    (true, _) => out_of_order = out_of_order.or(Some(line)),
                    (false, _) => removed += 1,
                }
            })?;
        }
        if let Some(line) = out_of_order {
            return Err(OutputError::OutOfOrder { path: path.to_path_buf(), line });
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(OutputError::io("open", path))?;
        file.set_len(kept_bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(OutputError::io("shorten", path))?;
        Ok((Self { path: path.to_path_buf(), file }, removed))
    }

    /// Appends one line. It is in the system's hands when this returns (a kill of the process does not lose it), though
    /// not yet on the disk: see [`JsonLines::sync`].
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn append(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        let write = |file: &mut File| {
            let mut line = serde_json::to_vec(value)?;
            line.push(b'\n');
            // One call for the whole line, so that a kill cannot tear it between the system's buffers.
            file.write_all(&line)
        };
        write(&mut self.file).map_err(OutputError::io("append to", &self.path))
    }

    /// Forces all lines to the disk, so that they survive a loss of power. Called before a checkpoint that relies on
    /// them is put in place.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn sync(&self) -> Result<(), OutputError> {
        self.file.sync_data().map_err(OutputError::io("flush", &self.path))
    }
}

fn open_if_there(path: &Path) -> Result<Option<File>, OutputError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OutputError::io("read", path)(error)),
    }
}

/// Calls `visit` with each whole line's value and the offset of the line's end in bytes.
fn scan<T: DeserializeOwned>(
    path: &Path,
    file: File,
    mut visit: impl FnMut(T, u64),
) -> Result<(), OutputError> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    let mut end = 0;
    let mut damaged = None;
    for line in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes).map_err(OutputError::io("read", path))?;
        if bytes.last() != Some(&b'\n') {
            break; // The end of the file, or a line whose end was never written.
        }
        end += read as u64;
        match (serde_json::from_slice(&bytes), damaged.take()) {
            (Ok(value), None) => visit(value, end),
            // After a loss of power several lines at the end may be unwritten blocks, so damage is only held against
            // the file when something whole follows.
            (Ok(_), Some((line, source))) => {
                return Err(OutputError::DamagedLine { path: path.to_path_buf(), line, source });
            }
            (Err(source), None) => damaged = Some((line, source)),
            (Err(_), first) => damaged = first,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a file of `content`, keeping values up to `last`; returns its content afterwards with 99 appended.
    fn check(content: &str, last: u64, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        std::fs::write(&path, content).unwrap();
        let (mut lines, _) = JsonLines::open(&path, |number: &u64| *number <= last).unwrap();
        lines.append(&99).unwrap();
        lines.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn later_lines_and_torn_ends_are_cut_off() {
        check("", 5, "99\n");
        check("1\n2\n3\n", 2, "1\n2\n99\n");
        check("1\n2\n3\n", 9, "1\n2\n3\n99\n");
        check("1\n2\n3", 9, "1\n2\n99\n");
        check("1\n2\n{\"half", 9, "1\n2\n99\n");
        check("1\n\0\0\n\0\0\n\0", 9, "1\n99\n");
        check("7\n8\n", 2, "99\n");
    }

    #[test]
    fn a_missing_file_is_empty_and_can_be_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        assert!(read::<u64>(&path).unwrap().is_empty());
        let (mut lines, removed) = JsonLines::open(&path, |_: &u64| true).unwrap();
        assert_eq!(removed, 0);
        lines.append(&1).unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), [1]);
    }

    #[test]
    fn reading_ignores_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        std::fs::write(&path, "1\n2\n3").unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), [1, 2]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3");
    }

    #[test]
    fn damage_before_whole_lines_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        std::fs::write(&path, "1\n2\nx\ny\n5\n").unwrap();
        let error = read::<u64>(&path).unwrap_err();
        assert!(matches!(error, OutputError::DamagedLine { line: 3, .. }), "{error}");
    }

    #[test]
    fn lines_that_go_back_are_refused_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        std::fs::write(&path, "1\n7\n2\n").unwrap();
        let error = JsonLines::open(&path, |number: &u64| *number <= 5).unwrap_err();
        assert!(matches!(error, OutputError::OutOfOrder { line: 3, .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n7\n2\n");
    }
}

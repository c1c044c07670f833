//! Files that are either whole or absent: written aside, flushed to the disk, then renamed into place.
//!
//! Renaming replaces a file in one step, so a reader, or a run that was killed at any moment, finds the old content
//! or the new, never half of one. The flush before the rename keeps that true when the machine loses power: without
//! it the name may reach the disk before the content does.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes the file at `path` so that it is never seen half-written.
///
/// `write` gets a buffered writer to `.<name>.tmp` in the same folder. When it succeeds, that file is flushed to the
/// disk, renamed to `path`, and the folder is flushed too; when it fails, the temporary is removed and `path` stays as
/// it was. A temporary left by a killed process is replaced, so leftovers do not pile up.
///
/// One writer per path at a time: two would share the temporary's name, and the later one is refused or fails.
///
/// # Errors
/// Whatever `write` returns, and any failure to create, flush or rename. Callers add the path to their own error.
///
/// # Example
/// ```no_run
/// # use std::path::Path;
/// d2v_train::atomic_file::write_atomically(Path::new("run/config.toml"), |file| file.write_all(b"steps = 3\n"))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let aside = Aside(temporary_beside(path)?);
    match fs::remove_file(&aside.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` refuses to follow a link that someone may have put in the way.
    let mut writer = BufWriter::new(File::create_new(&aside.0)?);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&aside.0, path)?;
    sync_folder(folder_of(path))
}

/// Flushes a folder's list of names to the disk, so that files created, renamed or removed in it stay so.
///
/// # Errors
/// When the folder cannot be opened or flushed. On systems other than Unix folders cannot be opened; nothing is done.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The temporary's path, removed when dropped unless the rename has taken it away.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // Best effort: after the rename there is nothing here, and the next write replaces what stays.
        let _ = fs::remove_file(&self.0);
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path does not name a file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    Ok(folder_of(path).join(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in `folder`, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_content_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for content in ["first", "second, which is longer", "3"] {
            write_atomically(&path, |file| file.write_all(content.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(&[b'x'; 100_000])?;
            Err(io::Error::other("disk on fire"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "disk on fire");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn the_old_content_stands_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "old").unwrap();
        write_atomically(&path, |file| {
            file.write_all(b"new")?;
            file.flush()?;
            assert_eq!(fs::read_to_string(&path)?, "old");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_killed_write_is_cleaned_up_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".state.json.tmp"), "half of somethi").unwrap();
        write_atomically(&folder.path().join("state.json"), |file| file.write_all(b"whole")).unwrap();
        assert_eq!(names(folder.path()), ["state.json"]);
        assert_eq!(fs::read_to_string(folder.path().join("state.json")).unwrap(), "whole");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_temporary_s_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "keep me").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join(".state.json.tmp")).unwrap();
        write_atomically(&folder.path().join("state.json"), |file| file.write_all(b"whole")).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "keep me");
    }

    #[test]
    fn a_path_without_a_file_name_is_refused() {
        let error = write_atomically(Path::new("/"), |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

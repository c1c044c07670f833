//! Files read up to a limit, and files that appear whole: written aside, flushed, renamed.

use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read or is longer.
pub(crate) fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Error::check_limit(format!("the length of {}", path.display()), bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// Puts a file in place: a reader finds what was there before or all of the new, also after a loss of power.
///
/// `write` fills the empty file whose path it gets.
///
/// # Errors
/// When the folder cannot be written or `write` fails; `path` is then as it was.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut aside = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As `File::create` would: what the process's mask leaves of it.
        aside.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let aside = aside.prefix(".weights-").tempfile_in(folder).map_err(Error::io(folder))?;
    write(aside.path())?;
    aside.as_file().sync_all().map_err(Error::io(path))?;
    aside.persist(path).map_err(|error| Error::io(path)(error.error))?;
    // Without this the name may be lost with the power. Systems other than Unix cannot open folders.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        write_whole(&path, |aside| fs::write(aside, b"old").map_err(Error::io(&path))).unwrap();
        let failed = write_whole(&path, |aside| {
            fs::write(aside, [b'x'; 1000]).map_err(Error::io(&path))?;
            Err(Error::malformed(&path, "stopped"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn longer_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, [0; 10]).unwrap();
        assert_eq!(read_up_to(&path, 10).unwrap().len(), 10);
        assert!(matches!(read_up_to(&path, 9), Err(Error::Limit { limit: 9, .. })));
    }
}

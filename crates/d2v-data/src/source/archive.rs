//! Files in tar archives: a plain .tar is indexed and read in place, a .tar.gz is decompressed into memory once.
//!
//! Nothing is ever written to disk, so names in an archive can do no harm; those that would leave a folder are ignored
//! all the same, as no honest archive has them. Links, devices and sparse files are ignored with a reason.

use super::listing::{Found, Listing, Place, Source};
use crate::dataset::Ignored;
use crate::error::Error;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use tar::{Archive, EntryType};

/// The longest name that an archive may give to an entry; the longest that Linux accepts.
const MAX_NAME_BYTES: usize = 4_096;
/// The largest extended header read (long names and attributes): read whole into memory by the tar crate.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

pub(crate) fn has_archive_name(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    [".tar", ".tar.gz", ".tgz"].iter().any(|extension| name.ends_with(extension))
}

/// Lists the wanted files of one archive, or of several that together are one data set. Of a .tar.gz the wanted files
/// are kept in memory.
pub(crate) fn list(
    shards: &[PathBuf],
    wanted: fn(&str) -> bool,
    memory_limit_bytes: u64,
) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let mut memory = Memory { limit_bytes: memory_limit_bytes, left_bytes: memory_limit_bytes };
    for path in shards {
        let source = listing.sources.len();
        let mut entries = Entries { source, wanted, places: BTreeMap::new(), ignored: &mut listing.ignored };
        let compressed = is_gzip(path)?;
        listing.sources.push(if compressed {
            let bytes = read_compressed(path, &mut entries, &mut memory)?;
            Source::Memory { path: path.clone(), bytes }
        } else {
            index_plain(path, &mut entries)?;
            Source::Archive(path.clone())
        });
        let shard = match path.file_name() {
            Some(name) if shards.len() > 1 => format!("{}/", name.to_string_lossy()),
            _ => String::new(),
        };
        let places = entries.places;
        listing.found.extend(places.into_iter().map(|(path, place)| Found {
            path,
            shard: shard.clone(),
            place,
        }));
    }
    Ok(listing)
}

/// What decompressed archives may still take.
struct Memory {
    limit_bytes: u64,
    left_bytes: u64,
}

/// The wanted files of one archive. Of two entries with one name the later counts, as for tar itself.
struct Entries<'a> {
    source: usize,
    wanted: fn(&str) -> bool,
    places: BTreeMap<String, Place>,
    ignored: &'a mut Ignored,
}

impl Entries<'_> {
    /// The normal form of an entry's name if it is to be kept.
    fn accept(&mut self, kind: EntryType, name: &[u8]) -> Option<String> {
        if kind.is_dir() || kind == EntryType::XGlobalHeader {
            return None;
        }
        let shown = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME_BYTES)]).into_owned();
        let reason = if name.len() > MAX_NAME_BYTES {
            "its name is longer than 4096 bytes"
        } else if kind.is_symlink() || kind.is_hard_link() {
            "a link; links are not followed"
        } else if kind != EntryType::Regular {
            "not a regular file"
        } else {
            match normal_form(&shown) {
                Ok(path) => return (self.wanted)(&path).then_some(path),
                Err(reason) => reason,
            }
        };
        self.ignored.add(shown, reason);
        None
    }

    fn insert(&mut self, path: String, offset: u64, bytes: u64) {
        self.places.insert(path, Place::Range { source: self.source, offset, bytes });
    }
}

fn normal_form(name: &str) -> Result<String, &'static str> {
    if name.starts_with('/') {
        return Err("its name is an absolute path");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") { Err("its name leads out of the archive") } else { Ok(parts.join("/")) }
}

fn is_gzip(path: &Path) -> Result<bool, Error> {
    let mut magic = Vec::with_capacity(2);
    File::open(path).and_then(|file| file.take(2).read_to_end(&mut magic)).map_err(Error::io(path))?;
    Ok(magic == [0x1F, 0x8B])
}

fn index_plain(path: &Path, entries: &mut Entries<'_>) -> Result<(), Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let file_bytes = file.metadata().map_err(Error::io(path))?.len();
    refuse_large_extensions(path, &mut file)?;
    let mut archive = Archive::new(file);
    for entry in archive.entries_with_seek().map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(bytes).is_none_or(|end| end > file_bytes) {
            return Err(Error::Archive {
                path: path.to_owned(),
                position: entry.raw_header_position(),
                problem: "an entry ends after the archive; it is truncated",
            });
        }
        if let Some(name) = entries.accept(entry.header().entry_type(), &entry.path_bytes()) {
            entries.insert(name, offset, bytes);
        }
    }
    Ok(())
}

/// Refuses an archive with an extended header larger than any honest one, before it is read into memory.
fn refuse_large_extensions(path: &Path, file: &mut File) -> Result<(), Error> {
    for entry in Archive::new(&*file).entries_with_seek().map_err(Error::io(path))?.raw(true) {
        let entry = entry.map_err(Error::io(path))?;
        let kind = entry.header().entry_type();
        let is_extension = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_extension && entry.size() > MAX_EXTENSION_BYTES {
            return Err(Error::Archive {
                path: path.to_owned(),
                position: entry.raw_header_position(),
                problem: "an extended header is larger than 1 MiB",
            });
        }
    }
    file.rewind().map_err(Error::io(path))
}

/// Decompresses an archive once and keeps its wanted files, one after the other.
///
/// Every decompressed byte counts against the limit, also those that are not kept: a small file that decompresses
/// without end is refused when the limit is reached.
fn read_compressed(path: &Path, entries: &mut Entries<'_>, memory: &mut Memory) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let stream = Bounded {
        inner: MultiGzDecoder::new(BufReader::new(file)),
        left: memory.left_bytes,
        exceeded: false,
    };
    let mut archive = Archive::new(stream);
    let mut kept = Vec::new();
    let result = keep_wanted(&mut archive, entries, &mut kept);
    let stream = archive.into_inner();
    if stream.exceeded {
        return Err(Error::MemoryLimit { path: path.to_owned(), limit_bytes: memory.limit_bytes });
    }
    memory.left_bytes = stream.left;
    result.map_err(Error::io(path))?;
    kept.shrink_to_fit();
    Ok(kept)
}

fn keep_wanted<R: Read>(
    archive: &mut Archive<R>,
    entries: &mut Entries<'_>,
    kept: &mut Vec<u8>,
) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        if let Some(name) = entries.accept(entry.header().entry_type(), &entry.path_bytes()) {
            let start = kept.len() as u64;
            let bytes = entry.read_to_end(kept)? as u64;
            if bytes < entry.size() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside an entry"));
            }
            entries.insert(name, start, bytes);
        }
    }
    Ok(())
}

/// A reader that fails once more than `left` bytes have come through.
struct Bounded<R> {
    inner: R,
    left: u64,
    exceeded: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => {
                self.exceeded = true;
                Err(io::Error::other("more than the memory limit"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_one_form() {
        assert_eq!(normal_form("./a//b/./c.jpg").as_deref(), Ok("a/b/c.jpg"));
        for name in ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg"] {
            assert!(normal_form(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bounded_reader_gives_exactly_what_is_allowed() {
        let read = |limit| {
            let mut reader = Bounded { inner: &[1_u8; 10][..], left: limit, exceeded: false };
            (reader.read_to_end(&mut Vec::new()).is_ok(), reader.exceeded)
        };
        assert_eq!(read(10), (true, false));
        assert_eq!(read(9), (false, true));
    }
}

//! What `--data PATH` is: told apart once, here, and opened as a [`Dataset`].

pub(crate) mod archive;
pub(crate) mod folder;
mod idx;
pub(crate) mod layout;
pub(crate) mod listing;
mod pictures;

pub use idx::IdxImages;
pub(crate) use layout::Part;
pub use pictures::PictureFiles;

use crate::dataset::{Dataset, Split};
use crate::decode::Limits;
use crate::error::Error;
use pictures::has_picture_name;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Limits on what opening data may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenOptions {
    /// How many bytes may be held in memory for data that cannot be read in place: the decompressed content of
    /// .tar.gz archives (all of it counts, pictures or not) and IDX images. Default 2 GiB. A plain .tar is read in
    /// place and does not count.
    pub memory_limit_bytes: u64,
    /// Limits for each picture.
    pub limits: Limits,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { memory_limit_bytes: 2 << 30, limits: Limits::default() }
    }
}

/// Opens the data at `path`, whatever of these it is:
///
/// - a folder that holds an IDX image file (`train-images-idx3-ubyte`, `t10k-images-idx3-ubyte`, also with `.gz`), or
///   such a file itself;
/// - a folder of pictures, flat or with a folder per class, with or without a `train`/`test` level above;
/// - a `.tar`, `.tar.gz` or `.tgz` archive of the same;
/// - a pattern such as `shards-*.tar`, for archives that together are one data set.
///
/// Pictures are the files called .jpg, .jpeg, .png, .webp or .bmp, in any case. With a `train` level in the paths
/// `split` selects by it; data without such levels has only a train part, which is everything.
///
/// Folders are listed and archives read through once, here; pictures are read when loaded. Links in folders and
/// archives are not followed but listed in [`Dataset::ignored`].
///
/// # Errors
/// If nothing is there or of no known kind, if it is damaged or beyond the limits, if no picture or no such split is
/// in it.
pub fn open(path: &Path, split: Split, options: &OpenOptions) -> Result<Box<dyn Dataset>, Error> {
    match kind_of(path)? {
        Kind::Idx(files) => Ok(Box::new(IdxImages::open(&files, split, options)?)),
        Kind::Folder => {
            let listing = folder::list(path, has_picture_name)?;
            Ok(Box::new(PictureFiles::new(path, listing, split, options)?))
        }
        Kind::Archives(shards) => {
            let listing = archive::list(&shards, has_picture_name, options.memory_limit_bytes)?;
            Ok(Box::new(PictureFiles::new(path, listing, split, options)?))
        }
    }
}

enum Kind {
    Idx(Vec<idx::IdxPart>),
    Folder,
    Archives(Vec<PathBuf>),
}

fn kind_of(path: &Path) -> Result<Kind, Error> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let files = idx::find_parts(path)?;
            Ok(if files.is_empty() { Kind::Folder } else { Kind::Idx(files) })
        }
        Ok(_) if archive::has_archive_name(path) => Ok(Kind::Archives(vec![path.to_owned()])),
        Ok(_) => match idx::part_of_file(path) {
            Some(part) => Ok(Kind::Idx(vec![part])),
            None => Err(Error::UnknownKind { path: path.to_owned() }),
        },
        Err(source) => match path.to_str() {
            Some(pattern) if pattern.contains(['*', '?', '[']) => {
                matching_archives(pattern).map(Kind::Archives)
            }
            _ => Err(Error::Io { path: path.to_owned(), source }),
        },
    }
}

/// The archives that a pattern names, sorted.
pub(crate) fn matching_archives(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let matches = glob::glob(pattern).map_err(|source| Error::Pattern { pattern: pattern.into(), source })?;
    let mut shards = Vec::new();
    for path in matches {
        let path = path.map_err(|error| Error::Io { path: error.path().to_owned(), source: error.into() })?;
        if !archive::has_archive_name(&path) {
            return Err(Error::UnknownKind { path });
        }
        shards.push(path);
    }
    shards.sort();
    if shards.is_empty() { Err(Error::NothingMatches { pattern: pattern.into() }) } else { Ok(shards) }
}

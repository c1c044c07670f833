//! Pictures below a folder. Links are listed, not followed, so no loop and no way out of the folder.

use super::OpenOptions;
use super::pictures::{Found, PictureFiles, Place, has_picture_name};
use crate::dataset::{Ignored, Split};
use crate::error::Error;
use std::path::Path;
use walkdir::WalkDir;

pub(super) fn open(root: &Path, split: Split, options: &OpenOptions) -> Result<PictureFiles, Error> {
    let mut found = Vec::new();
    let mut ignored = Ignored::default();
    for entry in WalkDir::new(root).follow_links(false) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::Io { path, source: error.into() }
        })?;
        let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let path = parts.join("/");
        let kind = entry.file_type();
        if kind.is_symlink() && entry.depth() > 0 {
            ignored.add(path, "a link; links are not followed");
        } else if !kind.is_dir() && has_picture_name(&path) {
            if kind.is_file() {
                found.push(Found { path, shard: String::new(), place: Place::File(entry.into_path()) });
            } else {
                ignored.add(path, "not a regular file");
            }
        }
    }
    PictureFiles::new(root, found, Vec::new(), ignored, split, options)
}

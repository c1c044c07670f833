//! Files below a folder. Links are listed, not followed, so no loop and no way out of the folder.

use super::listing::{Found, Listing, Place};
use crate::error::Error;
use std::path::Path;
use walkdir::WalkDir;

/// Lists the regular files whose name is wanted.
pub(crate) fn list(root: &Path, wanted: fn(&str) -> bool) -> Result<Listing, Error> {
    let mut listing = Listing::default();
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
            listing.ignored.add(path, "a link; links are not followed");
        } else if !kind.is_dir() && wanted(&path) {
            if kind.is_file() {
                let place = Place::File(entry.into_path());
                listing.found.push(Found { path, shard: String::new(), place });
            } else {
                listing.ignored.add(path, "not a regular file");
            }
        }
    }
    Ok(listing)
}

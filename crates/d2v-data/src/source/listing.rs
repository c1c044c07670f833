//! What a folder or archives hold: names, and the places that bytes are read from; the same for every modality.

use crate::dataset::Ignored;
use std::path::{Path, PathBuf};

/// Files found below a folder or inside archives, in no particular order.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) found: Vec<Found>,
    pub(crate) sources: Vec<Source>,
    pub(crate) ignored: Ignored,
}

/// A file found while listing: the path that its split, class and id are read from, and its place.
pub(crate) struct Found {
    /// Relative, with `/` between the parts.
    pub(crate) path: String,
    /// What precedes the path in the id, so that equal paths in two shards are two samples; empty otherwise.
    pub(crate) shard: String,
    pub(crate) place: Place,
}

/// Where the encoded bytes of a file are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A file of its own.
    File(PathBuf),
    /// Bytes of a source, which is named by its index.
    Range { source: usize, offset: u64, bytes: u64 },
}

/// What ranges refer to.
pub(crate) enum Source {
    /// A plain tar archive. Opened anew for each file in it, so that thousands of shards need no thousands of handles
    /// and threads share no file position.
    Archive(PathBuf),
    /// The decompressed content of a .tar.gz that is worth keeping: its wanted files, one after the other.
    Memory { path: PathBuf, bytes: Vec<u8> },
}

impl Source {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Archive(path) | Self::Memory { path, .. } => path,
        }
    }
}

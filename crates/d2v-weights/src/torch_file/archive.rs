//! The zip archive around a pickle and its storages.

use crate::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::{CompressionMethod, ZipArchive};

/// Longest `data.pkl`; that of Large with the optimizer's state has 1 MB.
const PICKLE_LIMIT: u64 = 1 << 26;
/// `torch.save` does not compress; who compresses weights afterwards gains little. Zeros compress a thousandfold.
const RATIO_LIMIT: u64 = 100;
/// How a zip archive begins.
const ZIP_START: [u8; 4] = *b"PK\x03\x04";
/// How a file of `torch.save` before PyTorch 1.6 begins: a pickle of a number that marks it.
const OLD_START: [u8; 4] = [0x80, 0x02, 0x8a, 0x0a];

/// An opened archive.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    /// The folder within the archive in which everything stands.
    folder: String,
    file_len: u64,
    /// Bytes of all storages by what the archive promises, each checked against its ratio.
    storages: HashMap<String, u64>,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).map_err(Error::io(path))?;
        let file_len = file.metadata().map_err(Error::io(path))?.len();
        let mut start = Vec::new();
        (&file).take(4).read_to_end(&mut start).map_err(Error::io(path))?;
        match <[u8; 4]>::try_from(start) {
            Ok(ZIP_START) => {}
            Ok(OLD_START) => return Err(Error::OldTorchFile { path: path.to_path_buf() }),
            _ => return Err(Error::malformed(path, "it is no file of torch.save")),
        }
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| Error::malformed(path, error))?;
        // Otherwise a few bytes could be promised as any number of storages.
        if zip.has_overlapping_files().map_err(|error| Error::malformed(path, error))? {
            return Err(Error::malformed(path, "its entries overlap"));
        }
        let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let folder = match names.iter().filter_map(|name| name.strip_suffix("data.pkl")).collect::<Vec<_>>()[..]
        {
            [folder] if folder.is_empty() || folder.ends_with('/') => folder.to_owned(),
            _ => return Err(Error::malformed(path, "as an archive of torch.save it must hold one data.pkl")),
        };
        let mut archive =
            Archive { path: path.to_path_buf(), zip, folder, file_len, storages: HashMap::new() };
        let data = format!("{}data/", archive.folder);
        for name in names {
            if let Some(key) = name.strip_prefix(&data) {
                let len = archive.checked_len(&name)?;
                archive.storages.insert(key.to_owned(), len);
            }
        }
        let order = format!("{}byteorder", archive.folder);
        if archive.zip.index_for_name(&order).is_some() && archive.entry(&order, 16)? != b"little" {
            return Err(Error::malformed(
                path,
                "its numbers are big-endian; save it again on a little-endian machine",
            ));
        }
        Ok(archive)
    }

    /// The text of `data.pkl`.
    pub(super) fn pickle(&mut self) -> Result<Vec<u8>> {
        self.entry(&format!("{}data.pkl", self.folder), PICKLE_LIMIT)
    }

    /// Bytes of all storages.
    pub(super) fn storage_bytes(&self) -> u64 {
        self.storages.values().fold(0, |sum, len| sum.saturating_add(*len))
    }

    /// The bytes of the storage `data/KEY`.
    pub(super) fn storage(&mut self, key: &str) -> Result<Vec<u8>> {
        if !self.storages.contains_key(key) {
            return Err(Error::malformed(&self.path, format!("the storage {key:?} is not in it")));
        }
        self.entry(&format!("{}data/{key}", self.folder), u64::MAX)
    }

    /// The length that an entry promises to have, once it is found to be possible.
    fn checked_len(&mut self, name: &str) -> Result<u64> {
        let malformed = |path: &Path, why: String| Error::malformed(path, format!("entry {name:?}: {why}"));
        let entry = self.zip.by_name(name).map_err(|error| malformed(&self.path, error.to_string()))?;
        let (len, packed) = (entry.size(), entry.compressed_size());
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(malformed(
                &self.path,
                format!("compressed by {:?}, which torch does not use", entry.compression()),
            ));
        }
        let ratio = if entry.compression() == CompressionMethod::Stored { 1 } else { RATIO_LIMIT };
        Error::check_limit(format!("the packed length of {name:?}"), packed, self.file_len)?;
        Error::check_limit(format!("the length of {name:?}"), len, packed.saturating_mul(ratio))?;
        Ok(len)
    }

    /// An entry's bytes, whose checksum has been held against them.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let len = self.checked_len(name)?;
        Error::check_limit(format!("the length of {name:?}"), len, limit)?;
        let malformed = |path: &Path, why: String| Error::malformed(path, format!("entry {name:?}: {why}"));
        let entry = self.zip.by_name(name).map_err(|error| malformed(&self.path, error.to_string()))?;
        let mut bytes = Vec::new();
        // Not reserved at once: what is promised may not come.
        entry
            .take(len + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| malformed(&self.path, error.to_string()))?;
        if bytes.len() as u64 == len {
            Ok(bytes)
        } else {
            Err(malformed(&self.path, format!("{} bytes came, {len} were promised", bytes.len())))
        }
    }
}

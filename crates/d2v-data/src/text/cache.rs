//! Tokens on disk: text is tokenised once, and blocks are then read in place.
//!
//! A cache file is a header, the tokens, and the index of blocks behind them; everything is little endian.
//!
//! ```text
//! 8 bytes   "d2vtext" and the version of the format
//! 32        key: SHA-256 of what the tokens were made from
//! 8 8 8     numbers of tokens, blocks and files
//! 32        SHA-256 of all this and of the index
//! 4 each    tokens
//! 8 each    for each file how many blocks it has
//! 12 each   for each block where it ends, in tokens, and the CRC-32 of its tokens
//! ```
//!
//! Only the index is held in memory. Blocks are read by position and not mapped: a mapping is `unsafe`, since another
//! process may cut the file short, and a read tells of that by an error.

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

const MAGIC: &[u8; 8] = b"d2vtext\x01";
const HEADER_BYTES: usize = 8 + 32 + 3 * 8 + 32;

/// The ending of a cache file: none that text has, as the cache may lie beside the data.
pub(super) const CACHE_ENDING: &str = "token-cache";
/// The ending that it once had, which text may have, too.
const FORMER_ENDING: &str = "tokens";

/// Whether a file is a cache under its former ending; one that cannot be read is not.
pub(super) fn is_former_cache(path: &Path) -> bool {
    let begins_like_one = || {
        let mut begin = [0; MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *MAGIC
    };
    path.extension().is_some_and(|ending| ending == FORMER_ENDING) && begins_like_one()
}

/// What tokens are made from, as 32 bytes.
pub(super) type Key = [u8; 32];

/// Where the cache of tokens is by default: `$D2V_CACHE`, else `$XDG_CACHE_HOME/d2v`, else `$HOME/.cache/d2v`.
///
/// Files in it are made anew when the data, the tokenizer or the options change; old ones are not removed.
///
/// # Errors
/// [`TextError::NoCacheFolder`](crate::TextError::NoCacheFolder) if none of these is set.
pub fn default_cache_folder() -> Result<PathBuf, Error> {
    folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
        .ok_or_else(|| super::TextError::NoCacheFolder.into())
}

fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("D2V_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("d2v")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/d2v")))
}

/// Writes a file in one step: nobody ever sees half of it, and of two processes that write the same one, either wins.
pub(super) fn write_atomically(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let mut file = NamedTempFile::new_in(folder).map_err(Error::io(folder))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    content(&mut writer)?;
    writer.flush().map_err(Error::io(path))?;
    drop(writer);
    file.as_file().sync_all().map_err(Error::io(path))?;
    file.persist(path).map_err(|error| Error::Io { path: path.into(), source: error.error })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

/// Receives blocks while a cache file is written.
pub(super) struct Writer<'a, 'b> {
    path: &'a Path,
    file: &'a mut BufWriter<&'b mut File>,
    tokens: u64,
    files: Vec<u64>,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// Where it ends, in tokens.
    end: u64,
    crc: u32,
}

impl Writer<'_, '_> {
    /// The blocks that follow belong to the next file.
    pub(super) fn begin_file(&mut self) {
        self.files.push(0);
    }

    pub(super) fn block(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        self.file.write_all(&bytes).map_err(Error::io(self.path))?;
        self.tokens += tokens.len() as u64;
        self.blocks.push(Block { end: self.tokens, crc: crc32fast::hash(&bytes) });
        *self.files.last_mut().expect("a file was begun") += 1;
        Ok(())
    }
}

/// Writes a cache file from what `fill` gives.
pub(super) fn write(
    path: &Path,
    key: &Key,
    fill: impl FnOnce(&mut Writer<'_, '_>) -> Result<(), Error>,
) -> Result<(), Error> {
    write_atomically(path, |file| {
        let failed = || Error::io(path);
        // Room for the header, which is known at the end.
        file.write_all(&[0; HEADER_BYTES]).map_err(failed())?;
        let mut writer = Writer { path, file, tokens: 0, files: Vec::new(), blocks: Vec::new() };
        fill(&mut writer)?;
        let Writer { tokens, files, blocks, .. } = writer;
        let counts = [tokens, blocks.len() as u64, files.len() as u64];
        let mut index = Vec::with_capacity(files.len() * 8 + blocks.len() * 12);
        files.iter().for_each(|blocks| index.extend(blocks.to_le_bytes()));
        for block in &blocks {
            index.extend(block.end.to_le_bytes());
            index.extend(block.crc.to_le_bytes());
        }
        file.write_all(&index).map_err(failed())?;
        file.seek(SeekFrom::Start(0)).map_err(failed())?;
        let head = head(key, counts);
        file.write_all(&head).map_err(failed())?;
        file.write_all(&checksum(&head, &index)).map_err(failed())
    })
}

fn head(key: &Key, counts: [u64; 3]) -> Vec<u8> {
    let mut head = [MAGIC.as_slice(), key].concat();
    counts.iter().for_each(|count| head.extend(count.to_le_bytes()));
    head
}

fn checksum(head: &[u8], index: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(head).chain_update(index).finalize().into()
}

/// An open cache file.
pub(super) struct TokenFile {
    file: File,
    path: PathBuf,
    blocks: Vec<Block>,
    /// The first block of each file, and the number of blocks.
    pub(super) first_blocks: Vec<usize>,
}

impl TokenFile {
    /// Opens a cache file; `Ok(Err(why))` if it is damaged or made from something else.
    pub(super) fn open(path: &Path, key: &Key) -> Result<Result<Self, &'static str>, Error> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut header = [0; HEADER_BYTES];
        if bytes < HEADER_BYTES as u64 {
            return Ok(Err("it is too short"));
        }
        file.read_exact(&mut header).map_err(Error::io(path))?;
        let (head, expected) = header.split_at(HEADER_BYTES - 32);
        if &head[..8] != MAGIC || &head[8..40] != key {
            return Ok(Err("it begins with something else"));
        }
        let count = |place: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[40 + 8 * place..][..8]);
            u64::from_le_bytes(bytes)
        };
        let (tokens, blocks, files) = (count(0), count(1), count(2));
        // The index may be read only if the file has it: so memory is bounded by what is on disk.
        let sizes = [tokens.checked_mul(4), files.checked_mul(8), blocks.checked_mul(12)];
        let total = sizes.into_iter().try_fold(HEADER_BYTES as u64, |sum, size| sum.checked_add(size?));
        if total != Some(bytes) {
            return Ok(Err("its size is not what it says"));
        }
        let mut index = Vec::new();
        file.seek(SeekFrom::Start(HEADER_BYTES as u64 + 4 * tokens)).map_err(Error::io(path))?;
        file.read_to_end(&mut index).map_err(Error::io(path))?;
        if checksum(head, &index) != *expected {
            return Ok(Err("its checksum differs"));
        }
        let (of_files, of_blocks) = index.split_at(8 * files as usize);
        let mut first_blocks = vec![0_usize];
        for &count in of_files.as_chunks::<8>().0 {
            let first = first_blocks[first_blocks.len() - 1];
            first_blocks.push(first.saturating_add(u64::from_le_bytes(count) as usize));
        }
        let blocks: Vec<Block> = of_blocks
            .as_chunks::<12>()
            .0
            .iter()
            .map(|&[a, b, c, d, e, f, g, h, crc @ ..]| Block {
                end: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                crc: u32::from_le_bytes(crc),
            })
            .collect();
        let ends: Vec<u64> = [0].into_iter().chain(blocks.iter().map(|block| block.end)).collect();
        // A checksum tells damage, not malice.
        if !ends.is_sorted() || ends.last() != Some(&tokens) || first_blocks.last() != Some(&blocks.len()) {
            return Ok(Err("its index contradicts itself"));
        }
        Ok(Ok(Self { file, path: path.into(), blocks, first_blocks }))
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    fn start(&self, block: usize) -> u64 {
        if block == 0 { 0 } else { self.blocks[block - 1].end }
    }

    /// The number of tokens of a block.
    pub(super) fn length(&self, block: usize) -> usize {
        (self.blocks[block].end - self.start(block)) as usize
    }

    /// The tokens of a block; safe from several threads at once, as there is no file position.
    pub(super) fn read(&self, block: usize) -> Result<Vec<u32>, Error> {
        let mut bytes = vec![0; 4 * self.length(block)];
        let position = HEADER_BYTES as u64 + 4 * self.start(block);
        self.file.read_exact_at(&mut bytes, position).map_err(Error::io(&self.path))?;
        if crc32fast::hash(&bytes) != self.blocks[block].crc {
            return Err(super::TextError::DamagedCache { path: self.path.clone(), block }.into());
        }
        Ok(bytes.as_chunks::<4>().0.iter().map(|&token| u32::from_le_bytes(token)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_first_that_is_set() {
        let check = |set: &[&str], expected: Option<&str>| {
            let folder = folder_from(|name| set.contains(&name).then(|| PathBuf::from(format!("/{name}"))));
            assert_eq!(folder, expected.map(PathBuf::from));
        };
        check(&["D2V_CACHE", "HOME"], Some("/D2V_CACHE"));
        check(&["XDG_CACHE_HOME", "HOME"], Some("/XDG_CACHE_HOME/d2v"));
        check(&["HOME"], Some("/HOME/.cache/d2v"));
        check(&[], None);
    }

    #[test]
    fn blocks_come_back_and_every_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/tokens");
        let key = [7; 32];
        write(&path, &key, |writer| {
            writer.begin_file();
            writer.begin_file();
            writer.block(&[0, 5, 2])?;
            writer.block(&[0, 1 << 20])
        })
        .unwrap();
        let open = |key| TokenFile::open(&path, key).unwrap();
        let tokens = open(&key).unwrap();
        assert_eq!((tokens.len(), tokens.length(1), &*tokens.first_blocks), (2, 2, &[0, 0, 2][..]));
        assert_eq!((tokens.read(0).unwrap(), tokens.read(1).unwrap()), (vec![0, 5, 2], vec![0, 1 << 20]));
        assert!(open(&[8; 32]).is_err());

        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            std::fs::write(&path, &damaged).unwrap();
            let seen = open(&key).map_or(true, |tokens| (0..2).any(|block| tokens.read(block).is_err()));
            assert!(seen, "byte {place}");
            std::fs::write(&path, &whole[..place]).unwrap();
            assert!(open(&key).is_err(), "cut at {place}");
        }
    }
}

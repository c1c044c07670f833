//! Text without labels as a data set: blocks of tokens, read in place from the cache.

use super::cache::{CACHE_ENDING, Key, TokenFile, Writer, default_cache_folder, write, write_atomically};
use super::error::TextError;
use super::files::{Found, Kinds, TextFile, find};
use super::options::TextOptions;
use super::pack::Packer;
use super::pieces::for_each_piece;
use super::tokenizer::Tokenizer;
use super::train::train_on_files;
use crate::dataset::{Dataset, Ignored, RawSample, Split, stable_id};
use crate::error::Error;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Blocks of tokens from files of text; see [`open_text`].
pub struct TextBlocks {
    tokens: TokenFile,
    /// The names of the files, in order.
    files: Vec<String>,
    tokenizer: Arc<Tokenizer>,
    ignored: Ignored,
}

/// Opens the text at `path` with the unit of `options`: a .txt (also .text, .tokens) or .jsonl (.ndjson) file, also as
/// .gz or .zst, a folder of such, or a pattern such as `'wiki/*.jsonl.zst'`.
///
/// A piece of a file's name (`wiki.train.tokens`, `dev.jsonl`), else a folder, tells the part that it belongs to:
/// train, test, or val, valid, validation, dev. Files that tell none are the train part, unless others are called
/// train: then they are left out, and listed in [`Dataset::ignored`].
///
/// A trained unit is learned from the train part, whichever part is opened. Text is tokenised on the first opening,
/// and kept in `options.cache` under a key that covers the format, the tokenizer, the options, and path, size and time
/// of change of each file; the cache may lie inside the data. Files are streamed, so they may be larger than memory.
///
/// # Errors
/// If nothing is there or of no known kind, if no such part is in it, if a line is damaged or too long, if a setting is
/// out of range, if the cache cannot be written.
pub fn open_text(path: &Path, split: Split, options: &TextOptions) -> Result<TextBlocks, Error> {
    open_text_with(path, split, options, None)
}

/// As [`open_text`], with the tokenizer of another run instead of the unit of `options`.
///
/// # Errors
/// As [`open_text`].
pub fn open_text_with(
    path: &Path,
    split: Split,
    options: &TextOptions,
    tokenizer: Option<Arc<Tokenizer>>,
) -> Result<TextBlocks, Error> {
    options.validate()?;
    let found = find(path, Kinds::TEXT)?;
    let files = found.select(split)?;
    let folder = match &options.cache {
        Some(folder) => folder.clone(),
        None => default_cache_folder()?,
    };
    let mut ignored = found.ignored.clone();
    let tokenizer = match tokenizer {
        Some(tokenizer) => tokenizer,
        None => Arc::new(tokenizer_of(path, &found, options, &folder, &mut ignored)?),
    };
    let mut identity = tokenizer.to_json()?;
    if !tokenizer.special_names().is_empty() {
        // The same file gives other blocks where other tokens begin and end them.
        identity.extend(format!("{:?}", tokenizer.specials()).bytes());
    }
    let key = key("tokens", &identity, options, &files)?;
    let cache = folder.join(format!("{}.{CACHE_ENDING}", hex(&key)));
    let tokens = match existing(&cache, &key, &mut ignored)? {
        Some(tokens) => tokens,
        None => {
            write(&cache, &key, |writer| tokenise(&files, options, &tokenizer, writer))?;
            TokenFile::open(&cache, &key)?
                .map_err(|_| TextError::DamagedCache { path: cache.clone(), block: 0 })?
        }
    };
    if tokens.len() == 0 {
        return Err(TextError::Empty { path: path.display().to_string() }.into());
    }
    let files: Vec<String> = files.into_iter().map(|file| file.name).collect();
    for (name, blocks) in files.iter().zip(tokens.first_blocks.windows(2)) {
        if blocks[0] == blocks[1] {
            ignored.add(name, "holds no text");
        }
    }
    Ok(TextBlocks { tokens, files, tokenizer, ignored })
}

/// The cache file, if it is there and whole; that it was not is told in `ignored`.
fn existing(cache: &Path, key: &Key, ignored: &mut Ignored) -> Result<Option<TokenFile>, Error> {
    match TokenFile::open(cache, key) {
        Ok(Ok(tokens)) => Ok(Some(tokens)),
        Ok(Err(why)) => {
            ignored.add(cache.display().to_string(), format!("a damaged token cache, made anew: {why}"));
            Ok(None)
        }
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tokenizer of the unit asked for; a trained one is kept in the cache, behind its SHA-256.
fn tokenizer_of(
    path: &Path,
    found: &Found,
    options: &TextOptions,
    folder: &Path,
    ignored: &mut Ignored,
) -> Result<Tokenizer, Error> {
    if !options.unit.is_trained() {
        return train_on_files(&[], path, options);
    }
    let files = found.select(Split::Train).map_err(|error| match error {
        Error::NoSuchSplit { path, .. } => {
            TextError::NeedsTokenizer { path, unit: options.unit.kind() }.into()
        }
        other => other,
    })?;
    let key = key("tokenizer", &[], options, &files)?;
    let cache = folder.join(format!("{}.tokenizer", hex(&key)));
    match std::fs::read(&cache) {
        Ok(bytes) => {
            if let Some((digest, json)) = bytes.split_at_checked(32)
                && Sha256::digest(json).as_slice() == digest
            {
                return Tokenizer::from_json(json, &cache.display().to_string());
            }
            ignored.add(cache.display().to_string(), "a damaged tokenizer in the cache, made anew");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Io { path: cache, source }),
    }
    let tokenizer = train_on_files(&files, path, options)?;
    let json = tokenizer.to_json()?;
    write_atomically(&cache, |file| {
        file.write_all(&Sha256::digest(&json)).map_err(Error::io(&cache))?;
        file.write_all(&json).map_err(Error::io(&cache))
    })?;
    Ok(tokenizer)
}

/// What tokens, or a tokenizer, are made from. Options that say only where to keep or how much to take in are left out.
fn key(purpose: &str, tokenizer: &[u8], options: &TextOptions, files: &[TextFile]) -> Result<Key, Error> {
    let TextOptions { unit, field, documents, cross_documents, max_tokens, invalid_utf8, .. } = options;
    let options = if purpose == "tokens" {
        format!("{field:?} {documents:?} {cross_documents} {max_tokens} {invalid_utf8:?}")
    } else {
        format!("{field:?} {documents:?} {invalid_utf8:?} {unit:?}")
    };
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(b"d2v-data text 1");
    add(purpose.as_bytes());
    add(tokenizer);
    add(options.as_bytes());
    for file in files {
        let path = std::fs::canonicalize(&file.path).map_err(Error::io(&file.path))?;
        let metadata = std::fs::metadata(&path).map_err(Error::io(&path))?;
        // A system without such times has only the size to go by.
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        add(file.name.as_bytes());
        add(path.as_os_str().as_encoded_bytes());
        add(&metadata.len().to_le_bytes());
        add(&changed.map_or(0, |changed| changed.as_nanos()).to_le_bytes());
    }
    Ok(hash.finalize().into())
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How much text is tokenised at a time, on all threads; with the longest line it bounds the memory.
const BATCH_BYTES: usize = 4 << 20;

fn tokenise(
    files: &[TextFile],
    options: &TextOptions,
    tokenizer: &Tokenizer,
    writer: &mut Writer<'_, '_>,
) -> Result<(), Error> {
    for file in files {
        writer.begin_file();
        let mut packer = Packer::new(options.max_tokens, options.cross_documents, tokenizer.specials());
        let mut batch: Vec<Option<String>> = Vec::new();
        let mut bytes = 0;
        for_each_piece(file, options, &mut |piece| {
            batch.push(piece.map(str::to_owned));
            bytes += piece.map_or(0, str::len);
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_BYTES / 64 {
                bytes = 0;
                pack(&mut batch, tokenizer, &mut packer, writer)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        pack(&mut batch, tokenizer, &mut packer, writer)?;
        packer.flush(&mut |block| writer.block(block))?;
    }
    Ok(())
}

/// Tokenises a batch on all threads and packs it in its order.
fn pack(
    batch: &mut Vec<Option<String>>,
    tokenizer: &Tokenizer,
    packer: &mut Packer,
    writer: &mut Writer<'_, '_>,
) -> Result<(), Error> {
    let encoded: Vec<_> =
        batch.par_drain(..).map(|piece| piece.map(|text| tokenizer.encode(&text)).transpose()).collect();
    for tokens in encoded {
        match tokens? {
            Some(tokens) => packer.piece(&tokens, &mut |block| writer.block(block))?,
            None => packer.end_document(&mut |block| writer.block(block))?,
        }
    }
    Ok(())
}

impl TextBlocks {
    /// The tokenizer that made the blocks: what a test part of other files must be opened with.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The file of a block, and its number there.
    fn place(&self, index: usize) -> (&str, usize) {
        assert!(index < self.len(), "block {index} of a data set of {}", self.len());
        let file = self.tokens.first_blocks.partition_point(|&first| first <= index) - 1;
        (&self.files[file], index - self.tokens.first_blocks[file])
    }
}

impl Dataset for TextBlocks {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn id(&self, index: usize) -> u64 {
        let (file, block) = self.place(index);
        stable_id(&format!("{file}#{block}"))
    }

    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> String {
        let (file, block) = self.place(index);
        format!("{file}, block {block}")
    }

    fn length(&self, index: usize) -> usize {
        self.tokens.length(index)
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        self.tokens.read(index).map(RawSample::Text)
    }

    fn ignored(&self) -> &Ignored {
        &self.ignored
    }
}

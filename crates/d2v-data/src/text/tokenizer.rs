//! From text to token ids and back, by any `tokenizer.json`.

use super::byte_ids::ByteIds;
use super::error::TextError;
use super::specials::{SpecialNames, Specials};
use super::word_start::WordEdges;
use crate::error::Error;
use crate::panic_message::panic_message;
use serde::de::IgnoredAny;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tokenizers::models::ModelWrapper;

/// Turns text into token ids.
///
/// Special tokens never come from text: a text that spells `<mask>` is encoded like any other text, and where the
/// vocabulary gives it the id of a special token all the same, it becomes `<unk>`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    specials: Specials,
    names: SpecialNames,
    added_specials: Vec<&'static str>,
    vocabulary_size: usize,
    edges: WordEdges,
    byte_ids: Option<ByteIds>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("specials", &self.specials)
            .field("vocabulary_size", &self.vocabulary_size)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// The largest tokenizer.json that is read, in bytes.
    pub const MAX_FILE_BYTES: u64 = 256 << 20;

    /// Ids are below this number: the embedding has a row for each.
    pub const MAX_VOCABULARY: usize = 1 << 22;

    /// Texts are encoded in parts of at most this many bytes, cut before white space where there is any, so that a
    /// line of many megabytes needs no more memory than its tokens.
    const MAX_PART_BYTES: usize = 1 << 16;

    /// Reads a `tokenizer.json` whose special tokens are called as RoBERTa's or BERT's.
    ///
    /// # Errors
    /// [`Error::Io`]; else as [`from_json`](Self::from_json).
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with(path, &SpecialNames::default())
    }

    /// Reads a `tokenizer.json` whose special tokens have other names.
    ///
    /// # Errors
    /// [`Error::Io`]; else as [`from_json_with`](Self::from_json_with).
    pub fn read_with(path: &Path, names: &SpecialNames) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if bytes > Self::MAX_FILE_BYTES {
            let problem = format!("it has {bytes} bytes, more than the limit of {}", Self::MAX_FILE_BYTES);
            return Err(TextError::Tokenizer { name, problem }.into());
        }
        Self::from_json_with(&std::fs::read(path).map_err(Error::io(path))?, &name, names)
    }

    /// Reads the bytes of a `tokenizer.json`; `name` is what messages call it. Its truncation and padding are not
    /// used: blocks are cut and padded elsewhere.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] if it is damaged, has random dropout or ids above [`MAX_VOCABULARY`](
    /// Self::MAX_VOCABULARY); [`TextError::MissingSpecials`].
    pub fn from_json(json: &[u8], name: &str) -> Result<Self, Error> {
        Self::from_json_with(json, name, &SpecialNames::default())
    }

    /// As [`from_json`](Self::from_json), for special tokens of other names.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json); [`TextError::NoSuchSpecial`] or [`TextError::SameSpecial`] if a name cannot be
    /// meant.
    pub fn from_json_with(json: &[u8], name: &str, names: &SpecialNames) -> Result<Self, Error> {
        let unusable = |problem: String| Error::from(TextError::Tokenizer { name: name.into(), problem });
        // The crate panics at some damage that this sees first.
        serde_json::from_slice::<IgnoredAny>(json).map_err(|error| unusable(error.to_string()))?;
        let mut inner = guarded(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(json)?;
            inner.with_padding(None);
            inner.with_truncation(None)?;
            Ok(inner)
        })
        .map_err(unusable)?;
        inner.set_encode_special_tokens(true);
        if let ModelWrapper::BPE(model) = inner.get_model()
            && model.dropout.is_some_and(|dropout| dropout != 0.0)
        {
            return Err(unusable("its `dropout` makes tokens random; set it to null".into()));
        }
        let specials = names.find(&mut inner, name);
        let vocabulary = inner.get_vocab(true);
        let vocabulary_size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        if vocabulary_size > Self::MAX_VOCABULARY {
            let limit = Self::MAX_VOCABULARY;
            return Err(unusable(format!("its ids reach {vocabulary_size}, the limit is {limit}")));
        }
        let (specials, added_specials) = specials?;
        let edges = WordEdges::new(&inner, &vocabulary, vocabulary_size, specials);
        let byte_ids = ByteIds::of(&inner, &vocabulary);
        let names = names.clone();
        Ok(Self { inner, specials, names, added_specials, vocabulary_size, edges, byte_ids })
    }

    /// The bytes of a `tokenizer.json`, the same for equal tokenizers.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] if it holds something that cannot be written, such as an infinite score.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let text = self.inner.to_string(true).map_err(|error| TextError::Tokenizer {
            name: "the tokenizer".into(),
            problem: format!("it cannot be written: {error}"),
        })?;
        Ok(text.into_bytes())
    }

    /// The ids of a text, without special tokens around them.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizer refuses, for instance because it knows neither the text nor an unknown
    /// token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        if let Some(byte_ids) = &self.byte_ids {
            return Ok(byte_ids.encode(text));
        }
        let mut ids = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(part_end(rest, Self::MAX_PART_BYTES));
            let encoding = guarded(|| self.inner.encode_fast(part, false))
                .map_err(|problem| TextError::Encode { excerpt: part.chars().take(40).collect(), problem })?;
            ids.extend(encoding.get_ids().iter().map(|&id| self.of_text(id)));
            rest = behind;
        }
        Ok(ids)
    }

    fn of_text(&self, id: u32) -> u32 {
        let Specials { bos, pad, eos, unk, mask } = self.specials;
        if [bos, pad, eos, mask].contains(&id) { unk } else { id }
    }

    /// The text of some tokens, special ones by name; bytes that are no character become U+FFFD.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] if the tokenizer's decoder refuses.
    pub fn text(&self, ids: &[u32]) -> Result<String, Error> {
        guarded(|| self.inner.decode(ids, false)).map_err(|problem| {
            let problem = format!("its decoder failed: {problem}");
            TextError::Tokenizer { name: "the tokenizer".into(), problem }.into()
        })
    }

    /// The text of one token, for previews; `None` if there is no such token.
    pub fn token_text(&self, id: u32) -> Option<String> {
        let token = self.inner.id_to_token(id)?;
        Some(self.text(&[id]).ok().filter(|text| !text.is_empty()).unwrap_or(token))
    }

    /// The ids of the special tokens.
    pub fn specials(&self) -> Specials {
        self.specials
    }

    /// The names that the special tokens were found by; none where they are RoBERTa's or BERT's. What
    /// [`to_json`](Self::to_json) writes does not say them.
    pub fn special_names(&self) -> &SpecialNames {
        &self.names
    }

    /// The keys of [`SpecialNames`] whose tokens the file lacked, so that they are new ones behind its vocabulary.
    pub fn added_specials(&self) -> &[&'static str] {
        &self.added_specials
    }

    /// The number of rows that an embedding needs: the largest id and one.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// For each token of a block whether a word begins there, for hiding whole words (specification 3.3); special
    /// tokens are words of their own. A word is what stands between white space.
    pub fn word_starts(&self, ids: &[u32]) -> Vec<bool> {
        self.edges.starts(ids)
    }
}

/// Runs a part of the tokenizers crate, which panics at some tokenizer.json files that contradict themselves, and where
/// the likelihood of a training text is no number.
pub(super) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    // Nothing of ours is changed inside, and a tokenizer that panicked while being read is dropped.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the tokenizers crate panicked: {}", panic_message(&*panic))),
    }
}

/// Where the first part of a text ends: the text's end, else before the last white space within the limit, else at the
/// last character within it.
fn part_end(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    // `str::floor_char_boundary` is newer than the oldest compiler.
    let end = (0..=limit).rev().find(|&index| text.is_char_boundary(index)).unwrap_or(0);
    match text[..end].rfind(char::is_whitespace) {
        Some(space) if space > 0 => space,
        _ => end,
    }
}

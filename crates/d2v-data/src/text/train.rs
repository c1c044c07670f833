//! Tokenizers learned from text: the same text, the same tokenizer, on any machine with any number of threads.

use super::error::TextError;
use super::files::{Kinds, TextFile, find};
use super::options::TextOptions;
use super::pieces::for_each_piece;
use super::specials::SPECIAL_NAMES;
use super::tokenizer::{Tokenizer, guarded};
use super::unigram;
use super::unit::TextUnit;
use crate::dataset::Split;
use crate::error::Error;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// At most this much text is learned from, 256 MiB: each file in turn gives an equal share, from its beginning, and
/// what a short file leaves over goes to those after it. It bounds the memory, and keeps every count below 2^31.
pub const MAX_TRAINING_BYTES: u64 = 256 << 20;

/// Words are cut after so many characters for training, so that a text without spaces costs no more than others.
const MAX_WORD_CHARS: usize = 64;

/// Learns a tokenizer from the files at `path`: a file, a folder or a pattern, as in [`open_text`](crate::open_text);
/// the train part, where names tell parts apart. Of `options`, `unit`, `field`, `documents`, `invalid_utf8` and
/// `max_line_bytes` matter. Text beyond [`MAX_TRAINING_BYTES`] is not looked at.
///
/// # Errors
/// As for opening the files; [`TextError::Empty`] if they hold no text; [`TextError::Train`].
pub fn train_tokenizer(path: &Path, options: &TextOptions) -> Result<Tokenizer, Error> {
    options.validate()?;
    let found = find(path, Kinds::TEXT)?;
    train_on_files(&found.select(Split::Train)?, path, options)
}

/// As [`train_tokenizer`], from files already found.
pub(super) fn train_on_files(
    files: &[TextFile],
    path: &Path,
    options: &TextOptions,
) -> Result<Tokenizer, Error> {
    let mut learner = Learner::new(&options.unit);
    let mut left = MAX_TRAINING_BYTES;
    if options.unit.is_trained() {
        for (place, file) in files.iter().enumerate() {
            let share = left / (files.len() - place) as u64;
            let mut of_file = 0;
            for_each_piece(file, options, &mut |piece| {
                if let Some(text) = piece {
                    of_file += text.len() as u64;
                    if of_file > share {
                        of_file = share;
                        return Ok(ControlFlow::Break(()));
                    }
                    learner.learn(text)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            left -= of_file;
        }
        if learner.counts.is_empty() {
            return Err(TextError::Empty { path: path.display().to_string() }.into());
        }
    }
    learner.finish()
}

impl Tokenizer {
    /// The tokenizer of [`TextUnit::Bytes`], which needs no text.
    ///
    /// # Errors
    /// None that is known of; see [`Tokenizer::from_json`].
    pub fn bytes() -> Result<Self, Error> {
        Learner::new(&TextUnit::Bytes {}).finish()
    }
}

/// Counts what a unit is made of, and makes a tokenizer of the counts.
pub(crate) struct Learner<'a> {
    unit: &'a TextUnit,
    counts: BTreeMap<String, u64>,
}

impl<'a> Learner<'a> {
    pub(crate) fn new(unit: &'a TextUnit) -> Self {
        Self { unit, counts: BTreeMap::new() }
    }

    pub(crate) fn learn(&mut self, text: &str) -> Result<(), Error> {
        match self.unit {
            TextUnit::Bytes {} | TextUnit::File { .. } => {}
            TextUnit::Characters { .. } => {
                let mut bytes = [0; 4];
                for c in text.chars() {
                    self.count(c.encode_utf8(&mut bytes));
                }
            }
            TextUnit::Words { .. } => text.split_whitespace().for_each(|word| self.count(word)),
            TextUnit::BytePair { .. } => self.count_split(&byte_level(), text)?,
            TextUnit::Unigram { .. } => self.count_split(&metaspace(), text)?,
        }
        Ok(())
    }

    fn count(&mut self, word: &str) {
        match self.counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(word.into(), 1);
            }
        }
    }

    /// Counts the words that the tokenizer itself will see.
    fn count_split(&mut self, splitter: &impl PreTokenizer, text: &str) -> Result<(), Error> {
        let mut split = PreTokenizedString::from(text);
        splitter.pre_tokenize(&mut split).map_err(|error| self.failed(error.to_string()))?;
        for (word, _, _) in split.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            let mut rest = word;
            while !rest.is_empty() {
                let end = rest.char_indices().nth(MAX_WORD_CHARS).map_or(rest.len(), |(end, _)| end);
                self.count(&rest[..end]);
                rest = &rest[end..];
            }
        }
        Ok(())
    }

    fn failed(&self, problem: String) -> Error {
        TextError::Train { unit: self.unit.kind(), problem }.into()
    }

    pub(crate) fn finish(mut self) -> Result<Tokenizer, Error> {
        // A piece that spells a special token would get its id.
        self.counts.retain(|word, _| !SPECIAL_NAMES.iter().any(|special| word.contains(special)));
        let json = match *self.unit {
            TextUnit::File { ref path, ref specials } => return Tokenizer::read_with(path, specials),
            TextUnit::Bytes {} => byte_json(&self.byte_pairs(261)?),
            TextUnit::BytePair { vocabulary } => byte_json(&self.byte_pairs(vocabulary)?),
            TextUnit::Characters { vocabulary } => {
                let model = json!({
                    "type": "BPE", "unk_token": "<unk>", "fuse_unk": false, "dropout": null,
                    "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "vocab": self.most_frequent(vocabulary), "merges": [],
                });
                tokenizer_json(&model, &Value::Null, &json!({ "type": "Fuse" }))
            }
            TextUnit::Words { vocabulary } => {
                let vocab = self.most_frequent(vocabulary);
                let model = json!({ "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" });
                // Without a decoder words are joined by spaces.
                tokenizer_json(&model, &json!({ "type": "WhitespaceSplit" }), &Value::Null)
            }
            TextUnit::Unigram { vocabulary } => {
                let pieces = unigram::train(std::mem::take(&mut self.counts), vocabulary - 1)
                    .map_err(|problem| self.failed(problem))?;
                let model =
                    json!({ "type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": false });
                let space = json!({
                    "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true,
                });
                tokenizer_json(&model, &space, &space)
            }
        };
        let bytes = serde_json::to_vec(&json).map_err(|error| self.failed(error.to_string()))?;
        Tokenizer::from_json(&bytes, "the trained tokenizer")
    }

    /// The special tokens and the most frequent units, `<mask>` left out; equally frequent ones by their bytes.
    fn most_frequent(&self, vocabulary: usize) -> Value {
        let mut units: Vec<(&str, u64)> = self.counts.iter().map(|(unit, &n)| (unit.as_str(), n)).collect();
        units.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let names = SPECIAL_NAMES[..4].iter().copied().chain(units.into_iter().map(|(unit, _)| unit));
        names.take(vocabulary - 1).enumerate().map(|(id, name)| (name.to_owned(), json!(id))).collect()
    }

    /// The model of byte pairs, `<mask>` left out.
    fn byte_pairs(&self, vocabulary: usize) -> Result<Value, Error> {
        let specials = SPECIAL_NAMES[..4].iter().map(|&name| AddedToken::from(name, true)).collect();
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocabulary - 1)
            .special_tokens(specials)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut model = BPE::default();
        let counts = self.counts.iter().map(|(word, &count)| (word.as_str().into(), count)).collect();
        single_threaded(|| trainer.do_train(&counts, &mut model)).map_err(|problem| self.failed(problem))?;
        serde_json::to_value(&model).map_err(|error| self.failed(error.to_string()))
    }
}

/// Runs `work` where the tokenizers crate finds one thread, so that no sum depends on the number of them.
pub(super) fn single_threaded<T: Send>(
    work: impl FnOnce() -> tokenizers::Result<T> + Send,
) -> Result<T, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| error.to_string())?;
    guarded(|| pool.install(work))
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn metaspace() -> Metaspace {
    Metaspace::new('\u{2581}', PrependScheme::Always, true)
}

fn byte_json(model: &Value) -> Value {
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    tokenizer_json(model, &bytes, &bytes)
}

/// A whole tokenizer.json around a model whose first four ids are the special tokens; `<mask>` comes last.
fn tokenizer_json(model: &Value, pre_tokenizer: &Value, decoder: &Value) -> Value {
    let size = match &model["vocab"] {
        Value::Object(vocab) => vocab.len(),
        Value::Array(vocab) => vocab.len(),
        _ => 0,
    };
    let special = |id: usize, name: &str| {
        json!({
            "id": id, "content": name, "special": true,
            "single_word": false, "lstrip": name == "<mask>", "rstrip": false, "normalized": false,
        })
    };
    let ids = [0, 1, 2, 3, size];
    let added: Vec<Value> = ids.into_iter().zip(SPECIAL_NAMES).map(|(id, name)| special(id, name)).collect();
    let marker = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        // As RoBERTa: <s> text </s>, and <s> a </s> </s> b </s>.
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [marker("<s>"), text("A"), marker("</s>")],
            "pair": [marker("<s>"), text("A"), marker("</s>"), marker("</s>"), text("B"), marker("</s>")],
            "special_tokens": {
                "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] },
                "</s>": { "id": "</s>", "ids": [2], "tokens": ["</s>"] },
            },
        },
        "decoder": decoder,
        "model": model,
    })
}

//! The tokens that do not stand for text: which of a tokenizer's they are.

use super::error::TextError;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use tokenizers::AddedToken;

/// The ids of the tokens that do not stand for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specials {
    /// Begins every block: `<s>` or `[CLS]`.
    pub bos: u32,
    /// Fills shorter rows of a batch: `<pad>` or `[PAD]`.
    pub pad: u32,
    /// Ends every piece: `</s>` or `[SEP]`.
    pub eos: u32,
    /// Stands for text that the vocabulary lacks: `<unk>` or `[UNK]`.
    pub unk: u32,
    /// Stands where a token was hidden: `<mask>` or `[MASK]`.
    pub mask: u32,
}

/// What a tokenizer calls its special tokens, where that is neither RoBERTa's way nor BERT's.
///
/// A token without a name here is looked for by those two names. `begin`, `end` and `unknown` must be in the vocabulary
/// and may be one token, as in GPT-2. `mask` and `pad` are tokens of their own; one that the vocabulary lacks is added at
/// its end.
///
/// ```
/// use d2v_data::TextUnit;
/// let unit: TextUnit = toml::from_str(r#"
///     kind = "file"
///     path = "gpt2/tokenizer.json"
///     [specials]
///     begin = "<|endoftext|>"
///     end = "<|endoftext|>"
///     unknown = "<|endoftext|>"
///     pad = "<pad>"
///     mask = "<mask>"
/// "#)?;
/// assert_eq!(unit.kind(), "file");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpecialNames {
    /// Begins every block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// Ends every piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Fills shorter rows of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad: Option<String>,
    /// Stands where a token was hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Stands for text that the vocabulary lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// The names of the special tokens in the order of [`Specials`]' fields: RoBERTa's, BERT's.
const FAMILIES: [[&str; 5]; 2] =
    [["<s>", "<pad>", "</s>", "<unk>", "<mask>"], ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]];

/// RoBERTa's names, which trained tokenizers have.
pub(super) const SPECIAL_NAMES: [&str; 5] = FAMILIES[0];

/// The keys of [`SpecialNames`], in the order of [`Specials`]' fields.
const KEYS: [&str; 5] = ["begin", "pad", "end", "unknown", "mask"];
/// Which of them are tokens of their own, and may be new.
const OWN: [usize; 2] = [1, 4];

impl SpecialNames {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In the order of [`Specials`]' fields.
    fn in_order(&self) -> [Option<&str>; 5] {
        let Self { begin, end, pad, mask, unknown } = self;
        [begin, pad, end, unknown, mask].map(Option::as_deref)
    }

    /// Finds the special tokens of a tokenizer, and adds a mask and padding that are named and not there; also returns
    /// the keys of those added.
    pub(super) fn find(
        &self,
        inner: &mut tokenizers::Tokenizer,
        file: &str,
    ) -> Result<(Specials, Vec<&'static str>), Error> {
        let mut added = Vec::new();
        let ids = if self.is_empty() {
            find_family(inner, file)?
        } else {
            self.find_named(inner, file, &mut added)?
        };
        let [bos, pad, eos, unk, mask] = ids;
        Ok((Specials { bos, pad, eos, unk, mask }, added))
    }

    fn find_named(
        &self,
        inner: &mut tokenizers::Tokenizer,
        file: &str,
        added: &mut Vec<&'static str>,
    ) -> Result<[u32; 5], Error> {
        let mut ids = [0; 5];
        let mut missing = Vec::new();
        for (at, named) in self.in_order().into_iter().enumerate() {
            let own = |token: &&str| inner.token_to_id(token);
            let found = match named {
                Some(token) => own(&token),
                None => FAMILIES.map(|family| family[at]).iter().find_map(own),
            };
            ids[at] = match (found, named) {
                (Some(id), _) => id,
                (None, Some(token)) if OWN.contains(&at) => {
                    added.push(KEYS[at]);
                    add(inner, token, file)?
                }
                (None, Some(token)) => {
                    let (name, key, token) = (file.into(), KEYS[at], token.into());
                    return Err(TextError::NoSuchSpecial { name, key, token }.into());
                }
                (None, None) => {
                    missing.push(KEYS[at]);
                    continue;
                }
            };
        }
        if !missing.is_empty() {
            return Err(missing_error(file, &missing));
        }
        for own in OWN {
            if let Some(other) = (0..5).find(|&other| other != own && ids[other] == ids[own]) {
                let name = file.into();
                return Err(TextError::SameSpecial { name, key: KEYS[own], other: KEYS[other] }.into());
            }
        }
        Ok(ids)
    }
}

/// All five by the names of one family.
fn find_family(inner: &tokenizers::Tokenizer, file: &str) -> Result<[u32; 5], Error> {
    let mut fewest_missing: Option<Vec<&str>> = None;
    for family in FAMILIES {
        let ids = family.map(|token| inner.token_to_id(token));
        if let [Some(bos), Some(pad), Some(eos), Some(unk), Some(mask)] = ids {
            return Ok([bos, pad, eos, unk, mask]);
        }
        let missing: Vec<&str> =
            KEYS.into_iter().zip(ids).filter(|(_, id)| id.is_none()).map(|(key, _)| key).collect();
        if fewest_missing.as_ref().is_none_or(|fewest| missing.len() < fewest.len()) {
            fewest_missing = Some(missing);
        }
    }
    Err(missing_error(file, &fewest_missing.unwrap_or_default()))
}

fn missing_error(file: &str, missing: &[&str]) -> Error {
    let keys: Vec<String> = missing.iter().map(|key| format!("{key} = \"...\"")).collect();
    TextError::MissingSpecials { name: file.into(), missing: missing.join(", "), keys: keys.join(", ") }
        .into()
}

/// Gives a token the first id behind all others.
fn add(inner: &mut tokenizers::Tokenizer, token: &str, file: &str) -> Result<u32, Error> {
    let unusable = |problem: String| Error::from(TextError::Tokenizer { name: file.into(), problem });
    let first_free = inner.get_vocab(true).values().max().map_or(0, |&id| u64::from(id) + 1);
    inner
        .add_special_tokens([AddedToken::from(token, true)])
        .map_err(|error| unusable(format!("'{token}' cannot be added: {error}")))?;
    match inner.token_to_id(token) {
        Some(id) if u64::from(id) >= first_free => Ok(id),
        // The crate counts tokens, which is too few where ids are left out.
        _ => Err(unusable(format!(
            "'{token}' cannot be added, as some ids below {first_free} have no token; add it to the file"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::*;
    use serde_json::{Value, json};

    /// A tokenizer of whole words with these ids.
    fn words(vocabulary: &Value) -> Vec<u8> {
        let unknown = vocabulary.as_object().unwrap().keys().next().unwrap();
        serde_json::to_vec(&json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": unknown },
        }))
        .unwrap()
    }

    fn names(text: &str) -> SpecialNames {
        toml::from_str(text).unwrap()
    }

    const GPT2: &str =
        "begin = '<|end|>'\nend = '<|end|>'\nunknown = '<|end|>'\npad = '<pad>'\nmask = '<mask>'";

    #[test]
    fn one_token_may_begin_and_end_and_mask_and_padding_are_added() {
        let json = words(&json!({ "<|end|>": 0, "a": 1, "b": 2 }));
        let tokenizer = Tokenizer::from_json_with(&json, "t.json", &names(GPT2)).unwrap();
        let expected = Specials { bos: 0, pad: 3, eos: 0, unk: 0, mask: 4 };
        assert_eq!((tokenizer.specials(), tokenizer.vocabulary_size()), (expected, 5));
        assert_eq!(tokenizer.added_specials(), ["pad", "mask"]);
        // Special tokens never come from text.
        assert_eq!(tokenizer.encode("b a <mask> <pad> c").unwrap(), [2, 1, 0, 0, 0]);
        assert_eq!(tokenizer.token_text(4).as_deref(), Some("<mask>"));
        // What is written is read by the same names, and adds nothing more.
        let written = tokenizer.to_json().unwrap();
        let again = Tokenizer::from_json_with(&written, "t.json", tokenizer.special_names()).unwrap();
        assert_eq!((again.specials(), again.vocabulary_size()), (expected, 5));
        assert_eq!(again.added_specials(), [""; 0]);
        assert!(again.to_json().unwrap() == written);
    }

    #[test]
    fn what_is_not_named_is_found_as_ever() {
        // As T5 has it: no token begins a text, and none is hidden.
        let json = words(&json!({ "<pad>": 0, "</s>": 1, "<unk>": 2, "<extra_id_0>": 3 }));
        let of = |text| Tokenizer::from_json_with(&json, "t.json", &names(text)).map(|t| t.specials());
        let specials = of("begin = '</s>'\nmask = '<extra_id_0>'").unwrap();
        assert_eq!(specials, Specials { bos: 1, pad: 0, eos: 1, unk: 2, mask: 3 });
        assert_eq!(of("begin = '</s>'\nmask = '[hidden]'").unwrap().mask, 4);

        let message = of("").unwrap_err().to_string();
        assert!(message.starts_with("t.json lacks a token for begin, mask"), "{message}");
        assert!(message.contains("specials = { begin = \"...\", mask = \"...\" }"), "{message}");
        let message = of("begin = '</s>'").unwrap_err().to_string();
        assert!(message.contains("specials = { mask = \"...\" }"), "{message}");
    }

    #[test]
    fn names_that_cannot_be_meant_are_refused() {
        let json = words(&json!({ "<|end|>": 0, "a": 1 }));
        let refused = |text: &str, expected: &str| {
            let message = Tokenizer::from_json_with(&json, "t.json", &names(text)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        refused(&GPT2.replace("begin = '<|end|>'", "begin = '<s>'"), "no token '<s>'");
        refused(&GPT2.replace("'<pad>'", "'<|end|>'"), "`specials.pad` and `specials.begin` are the same");
        refused(&GPT2.replace("'<mask>'", "'<pad>'"), "are the same");
        refused(&GPT2.replace("'<mask>'", "''"), "cannot be added");
        // The next id would be 2, which is taken.
        let holes = words(&json!({ "<|end|>": 0, "a": 2 }));
        let message = Tokenizer::from_json_with(&holes, "t.json", &names(GPT2)).unwrap_err().to_string();
        assert!(message.contains("some ids below 3"), "{message}");
        assert!(toml::from_str::<SpecialNames>("bos = 'x'").is_err());
    }
}

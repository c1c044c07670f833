//! What a token is: no unit is built in, all go the same way.

use super::specials::SpecialNames;
use crate::error::Error;
use crate::transform::check_setting;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a token is. Vocabularies count the five special tokens; a small corpus may fill less than was asked for.
///
/// Trained units have the ids of RoBERTa (specification 2.3): `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then the units,
/// `<mask>` last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TextUnit {
    /// The 256 bytes; nothing is unknown and nothing is trained. A vocabulary of 261.
    Bytes {},
    /// Unicode characters, the most frequent ones.
    Characters {
        /// Size of the vocabulary, 6 to 1,000,000.
        vocabulary: usize,
    },
    /// What stands between white space, the most frequent ones.
    Words {
        /// Size of the vocabulary, 6 to 1,000,000.
        vocabulary: usize,
    },
    /// Byte-level byte pairs as in GPT-2 and RoBERTa; nothing is unknown.
    BytePair {
        /// Size of the vocabulary, 261 (no pair) to 1,000,000.
        vocabulary: usize,
    },
    /// Pieces of words chosen by a unigram language model, as in SentencePiece.
    Unigram {
        /// Size of the vocabulary, 16 to 1,000,000.
        vocabulary: usize,
    },
    /// Whatever a `tokenizer.json` says.
    File {
        /// The file.
        path: PathBuf,
        /// What it calls its special tokens, unless as RoBERTa or BERT does.
        #[serde(default, skip_serializing_if = "SpecialNames::is_empty")]
        specials: SpecialNames,
    },
}

impl TextUnit {
    /// The name of the kind, as in configurations.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bytes {} => "bytes",
            Self::Characters { .. } => "characters",
            Self::Words { .. } => "words",
            Self::BytePair { .. } => "byte-pair",
            Self::Unigram { .. } => "unigram",
            Self::File { .. } => "file",
        }
    }

    /// Whether the vocabulary comes from the training text.
    pub fn is_trained(&self) -> bool {
        !matches!(self, Self::Bytes {} | Self::File { .. })
    }

    /// Checks the size of the vocabulary.
    ///
    /// # Errors
    /// [`Error::Setting`] names the rule.
    pub fn validate(&self) -> Result<(), Error> {
        let (vocabulary, least, rule) = match *self {
            Self::Bytes {} | Self::File { .. } => return Ok(()),
            Self::Characters { vocabulary } | Self::Words { vocabulary } => {
                (vocabulary, 6, "must be 6 to 1000000: five special tokens and one more")
            }
            Self::BytePair { vocabulary } => {
                (vocabulary, 261, "must be 261 to 1000000: five special tokens and the 256 bytes")
            }
            Self::Unigram { vocabulary } => (vocabulary, 16, "must be 16 to 1000000"),
        };
        check_setting("vocabulary", vocabulary, |size| (least..=1_000_000).contains(&size), rule)
    }
}

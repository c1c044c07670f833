//! The settings of text, with their limits.

use super::unit::TextUnit;
use crate::error::Error;
use crate::transform::check_setting;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How files of text become blocks of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextOptions {
    /// What a token is. Default: byte pairs, 8,192 of them.
    pub unit: TextUnit,
    /// The field of a .jsonl line that holds the text. Default `text`.
    pub field: String,
    /// Where documents end in a .txt file. Default: at blank lines.
    pub documents: Documents,
    /// Whether blocks are filled across documents of one file, with one more `</s>` between them. Default no.
    pub cross_documents: bool,
    /// The most tokens of a block, `<s>` included; 3 to 1,048,576. Default 512 (specification 2.3).
    pub max_tokens: usize,
    /// What to do about bytes that are not UTF-8. Default: an error that names file and byte.
    pub invalid_utf8: InvalidUtf8,
    /// The folder of the token cache; without it [`default_cache_folder`](crate::default_cache_folder).
    pub cache: Option<PathBuf>,
    /// The longest line (a whole document in .jsonl) in bytes, 1 to 2^32: what may be held in memory at once. Default
    /// 64 MiB.
    pub max_line_bytes: u64,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            unit: TextUnit::BytePair { vocabulary: 8_192 },
            field: "text".into(),
            documents: Documents::BlankLine,
            cross_documents: false,
            max_tokens: 512,
            invalid_utf8: InvalidUtf8::Error,
            cache: None,
            max_line_bytes: MAX_LINE_BYTES,
        }
    }
}

/// The default of `max_line_bytes`.
pub(super) const MAX_LINE_BYTES: u64 = 64 << 20;

impl TextOptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.unit.validate()?;
        check_max_tokens(self.max_tokens)?;
        check_max_line_bytes(self.max_line_bytes)
    }
}

pub(super) fn check_max_tokens(max_tokens: usize) -> Result<(), Error> {
    check_setting("max_tokens", max_tokens, |count| (3..=1 << 20).contains(&count), "must be 3 to 1048576")
}

pub(super) fn check_max_line_bytes(bytes: u64) -> Result<(), Error> {
    check_setting("max_line_bytes", bytes, |bytes| (1..=1 << 32).contains(&bytes), "must be 1 to 2^32")
}

/// Where documents end in a .txt file. A line of a .jsonl file is always one document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// At lines of nothing but white space.
    #[default]
    BlankLine,
    /// At every line.
    Line,
    /// At the end of the file.
    File,
}

/// What to do about bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidUtf8 {
    /// Refuse the file.
    #[default]
    Error,
    /// Read U+FFFD in their place.
    Replace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_name_and_checked() {
        let text = "max_tokens = 128\ndocuments = \"line\"\ninvalid_utf8 = \"replace\"\nunit = { kind = \"byte-pair\", vocabulary = 512 }";
        let options: TextOptions = toml::from_str(text).unwrap();
        assert_eq!(options.unit, TextUnit::BytePair { vocabulary: 512 });
        assert_eq!((options.max_tokens, options.documents), (128, Documents::Line));
        options.validate().unwrap();
        assert!(toml::from_str::<TextOptions>("max_token = 128").is_err());
        for options in [
            TextOptions { max_tokens: 2, ..TextOptions::default() },
            TextOptions { max_line_bytes: 0, ..TextOptions::default() },
            TextOptions { unit: TextUnit::BytePair { vocabulary: 260 }, ..TextOptions::default() },
            TextOptions { unit: TextUnit::Words { vocabulary: 5 }, ..TextOptions::default() },
        ] {
            assert!(matches!(options.validate(), Err(Error::Setting { .. })), "{options:?}");
        }
    }
}

//! Text: nothing is augmented; blocks are padded to the longest of their batch.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// How blocks of tokens become a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTransform {
    /// The most tokens of a block, special tokens included; longer ones are cut. At least 2.
    pub max_tokens: usize,
    /// The id that fills shorter rows of a batch.
    #[serde(default = "roberta_pad")]
    pub pad_id: u32,
}

fn roberta_pad() -> u32 {
    1
}

impl TextTransform {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        super::check_setting("max_tokens", self.max_tokens, |n| n >= 2, "must be at least 2")
    }

    /// Cuts a block that is too long.
    pub fn apply(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        tokens.truncate(self.max_tokens);
        tokens
    }
}

//! Text: nothing is augmented; blocks are padded to the longest of their batch.

use serde::{Deserialize, Serialize};

/// How blocks of tokens become a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTransform {
    /// The id that fills shorter rows of a batch. Default RoBERTa's, 1.
    #[serde(default = "roberta_pad")]
    pub pad_id: u32,
}

fn roberta_pad() -> u32 {
    1
}

impl Default for TextTransform {
    fn default() -> Self {
        Self { pad_id: roberta_pad() }
    }
}

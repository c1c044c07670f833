//! Settings of the token masks.

use serde::{Deserialize, Serialize};

use crate::error::{check, check_positive, check_share};
use crate::{MaskKey, Result};

/// Settings of [`crate::Tokens`] and [`crate::TokenCorruptor`]. The default is BERT's and RoBERTa's recipe, that of
/// data2vec 1.0's main text rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokensConfig {
    /// The share p of tokens (or words) that spans would choose if none overlapped, 0 to 1. Default 0.15.
    pub mask_prob: f64,
    /// The (mean) length l of a span in tokens (or words), at least 1. Default 1.
    pub span_length: usize,
    /// The standard deviation of a span's length, at least 0. Lengths are normal, rounded and at least 0. Default 0: all
    /// spans have `span_length`.
    pub span_stdev: f64,
    /// The share of chosen tokens that keep their id, 0 to 1. Default 0.1.
    pub leave_prob: f64,
    /// The share of chosen tokens that get a random id, 0 to 1 - `leave_prob`. Default 0.1. The rest shows the mask token.
    pub random_prob: f64,
    /// Whether words are chosen instead of tokens, and with a word all its tokens. Default false.
    pub whole_words: bool,
    /// Whether special tokens can be chosen. Default: they cannot.
    pub special_tokens: SpecialTokens,
    /// Whether a sample gets a new mask in each epoch. Default: it does.
    pub refresh: MaskRefresh,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self {
            mask_prob: 0.15,
            span_length: 1,
            span_stdev: 0.0,
            leave_prob: 0.1,
            random_prob: 0.1,
            whole_words: false,
            special_tokens: SpecialTokens::Exempt,
            refresh: MaskRefresh::Dynamic {},
        }
    }
}

impl TokensConfig {
    /// The spans of data2vec 1.0's best text row and of its released model: 35 % in spans of four, which hides about 30 %,
    /// and nothing but the mask token shown. There, special tokens are [`SpecialTokens::Maskable`].
    #[must_use]
    pub fn spans_of_four() -> Self {
        Self { mask_prob: 0.35, span_length: 4, leave_prob: 0.0, random_prob: 0.0, ..Self::default() }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the first that is outside.
    pub fn validate(&self) -> Result<()> {
        let Self { mask_prob, span_length, span_stdev, leave_prob, random_prob, .. } = *self;
        check_share("mask_prob", mask_prob)?;
        check_positive("span_length", span_length)?;
        let finite = span_stdev.is_finite() && span_stdev >= 0.0;
        check("span_stdev", span_stdev, finite, "finite and at least 0")?;
        check_share("leave_prob", leave_prob)?;
        check_share("random_prob", random_prob)?;
        check("random_prob", random_prob, leave_prob + random_prob <= 1.0, "at most 1 - leave_prob")?;
        if let MaskRefresh::Static { copies } = self.refresh {
            check("refresh.copies", copies as f64, copies >= 1, "at least 1")?;
        }
        Ok(())
    }
}

/// Whether special tokens (`<s>`, `</s>` and the like) can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpecialTokens {
    /// Never: shares are of the other tokens, and spans skip special ones. So BERT and transformers.
    #[default]
    Exempt,
    /// Like any token. What fairseq does: RoBERTa and the released data2vec text models were trained so.
    Maskable,
}

/// Whether a sample's mask changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskRefresh {
    /// With every epoch (RoBERTa).
    Dynamic {},
    /// Never but for going round a fixed number of masks (BERT: 10).
    Static {
        /// The number of masks per sample, at least 1.
        copies: u64,
    },
}

impl MaskRefresh {
    /// The key whose draw is used for `key`.
    pub(crate) fn apply(self, key: MaskKey) -> MaskKey {
        match self {
            Self::Dynamic {} => key,
            Self::Static { copies } => MaskKey { epoch: key.epoch % copies, ..key },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::check_setting;

    #[test]
    fn impossible_settings_are_named() {
        let default = TokensConfig::default;
        check_setting(TokensConfig { mask_prob: -0.1, ..default() }.validate(), "mask_prob");
        check_setting(TokensConfig { span_length: 0, ..default() }.validate(), "span_length");
        check_setting(TokensConfig { span_stdev: f64::NAN, ..default() }.validate(), "span_stdev");
        check_setting(TokensConfig { leave_prob: 1.5, ..default() }.validate(), "leave_prob");
        check_setting(
            TokensConfig { leave_prob: 0.6, random_prob: 0.5, ..default() }.validate(),
            "random_prob",
        );
        check_setting(
            TokensConfig { refresh: MaskRefresh::Static { copies: 0 }, ..default() }.validate(),
            "refresh.copies",
        );
    }

    #[test]
    fn a_static_mask_goes_round_its_copies() {
        let key = MaskKey { epoch: 23, ..MaskKey::default() };
        assert_eq!(MaskRefresh::Static { copies: 10 }.apply(key).epoch, 3);
        assert_eq!(MaskRefresh::Dynamic {}.apply(key).epoch, 23);
    }
}

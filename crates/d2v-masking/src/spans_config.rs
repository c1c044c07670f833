//! Settings of the span masks, with what the reference's options are called here.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::{check, check_positive, check_share, check_share_below_one};

/// Settings of [`crate::Spans`]. The default is data2vec 1.0's for speech Base and Large.
///
/// ```
/// use d2v_masking::{EqualCounts, SpansConfig};
///
/// let paper = SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::default() };
/// assert_eq!((paper.mask_prob, paper.mask_length), (0.65, 10));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpansConfig {
    /// The share p of positions that the spans would hide if none overlapped, 0 to 1: a row of T positions gets
    /// `floor(p T / mask_length + U)` spans. Default 0.65, which the papers state as 0.065 starts per frame.
    pub mask_prob: f64,
    /// The (mean) length of a span in positions, at least 1. Default 10.
    pub mask_length: usize,
    /// How a span's length varies. Default: not at all. Fairseq's `mask_selection` and `mask_other`.
    pub lengths: SpanLengths,
    /// Whether spans may overlap. Default: yes. Fairseq's `no_mask_overlap` and `mask_min_space`.
    pub overlap: Overlap,
    /// Where spans may start. Default: so that the last frame is never hidden, as in the published runs.
    pub start_range: StartRange,
    /// Whether rows round their number of spans each for itself. Default: yes.
    pub rounding: SpanRounding,
    /// Whether a row gets at most `floor(T / mask_length)` spans (at least 1), as many as fit side by side. Default false.
    pub fit_side_by_side: bool,
    /// The fewest spans in a row. Default 1. With 0, a row may have none, and then nothing of it is hidden.
    pub min_masks: usize,
    /// Whether all rows of a batch hide the same number of positions. Default: cut to the fewest. Fairseq's
    /// `require_same_masks` and `add_masks`.
    pub equal_counts: EqualCounts,
    /// The share of each row's hidden positions that is shown again at last, from 0 up to but not 1. Default 0.
    pub mask_dropout: f64,
}

impl Default for SpansConfig {
    fn default() -> Self {
        Self {
            mask_prob: 0.65,
            mask_length: 10,
            lengths: SpanLengths::Static {},
            overlap: Overlap::Allowed {},
            start_range: StartRange::BeforeLast,
            rounding: SpanRounding::PerRow,
            fit_side_by_side: false,
            min_masks: 1,
            equal_counts: EqualCounts::CutToFewest {},
            mask_dropout: 0.0,
        }
    }
}

impl SpansConfig {
    /// The channel masks of fine-tuning: the same procedure over the width of the features, where a row may have no
    /// span. Fairseq's `mask_channel_prob` and `mask_channel_length`.
    #[must_use]
    pub fn channels(mask_prob: f64, mask_length: usize) -> Self {
        Self { mask_prob, mask_length, min_masks: 0, ..Self::default() }
    }

    /// The variant in the transformers library: rows share one rounding draw, spans may reach the last frame and are no
    /// more than fit side by side, and rows are not equalised.
    #[must_use]
    pub fn transformers(mask_prob: f64, mask_length: usize) -> Self {
        Self {
            mask_prob,
            mask_length,
            start_range: StartRange::ToLast,
            rounding: SpanRounding::PerEpoch,
            fit_side_by_side: true,
            equal_counts: EqualCounts::Off {},
            ..Self::default()
        }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the first that is outside.
    pub fn validate(&self) -> Result<()> {
        check_share("mask_prob", self.mask_prob)?;
        check_positive("mask_length", self.mask_length)?;
        check_share_below_one("mask_dropout", self.mask_dropout)?;
        match self.lengths {
            SpanLengths::Uniform { min } => {
                let most = self.mask_length.saturating_mul(2);
                check("lengths.min", min as f64, min <= most, "at most twice mask_length")
            }
            SpanLengths::Normal { stdev } => {
                check("lengths.stdev", stdev, stdev.is_finite() && stdev >= 0.0, "finite and at least 0")
            }
            SpanLengths::Static {} | SpanLengths::Poisson {} => Ok(()),
        }
    }
}

/// How the length of a span is drawn; `mask_length` is l.
///
/// Differs from the reference: there, the uniform lengths do not run with a current NumPy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SpanLengths {
    /// Always l.
    Static {},
    /// Uniform from `min` to 2 l, both included.
    Uniform {
        /// The shortest span in positions, 0 to 2 l.
        min: usize,
    },
    /// Normal around l, rounded, at least 1.
    Normal {
        /// The standard deviation in positions, at least 0.
        stdev: f64,
    },
    /// Poisson with mean l. A span of length 0 hides nothing.
    Poisson {},
}

/// Whether spans may overlap.
///
/// Differs from the reference: there, the form without overlap does not run with a current NumPy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Overlap {
    /// They may, and about a quarter of the nominal share is lost to it.
    Allowed {},
    /// They keep a distance. Longer spans are placed first; those that no gap can hold are left out.
    Forbidden {
        /// Visible positions between two spans, at least; 0 lets them touch.
        min_space: usize,
    },
}

/// The first positions among which overlapping spans start; l is the shortest span, T the row's real length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartRange {
    /// 0 to T - l - 1: the last position is never hidden. What fairseq does and the published models were trained with.
    #[default]
    BeforeLast,
    /// 0 to T - l: a span may end at the last position, as in transformers.
    ToLast,
}

/// Which rows share the uniform draw that rounds the number of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanRounding {
    /// None: each row draws its own.
    #[default]
    PerRow,
    /// All of one seed and epoch (or step): what "one draw per batch" of transformers and of older fairseq becomes where
    /// a row may not depend on the batch that it is in.
    PerEpoch,
}

/// How the rows of a batch come to hide the same number of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EqualCounts {
    /// They do not: the form that data2vec 1.0's paper describes (about 49 % hidden).
    Off {},
    /// Uniformly random single positions of the fuller rows are shown again, which leaves holes in spans. What the
    /// published models were trained with; it costs 4 to 13 points of the share that is hidden.
    CutToFewest {},
    /// Uniformly random single visible positions of the emptier rows are hidden.
    FillToMost {
        /// Whether padding is hidden as well, as in the reference. Otherwise a row that is too short for the count is
        /// [`crate::Error::CannotFill`].
        hide_padding: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::check_setting;

    #[test]
    fn impossible_settings_are_named() {
        let default = SpansConfig::default;
        check_setting(SpansConfig { mask_prob: 1.1, ..default() }.validate(), "mask_prob");
        check_setting(SpansConfig { mask_prob: f64::NAN, ..default() }.validate(), "mask_prob");
        check_setting(SpansConfig { mask_length: 0, ..default() }.validate(), "mask_length");
        check_setting(SpansConfig { mask_dropout: 1.0, ..default() }.validate(), "mask_dropout");
        check_setting(
            SpansConfig { lengths: SpanLengths::Uniform { min: 21 }, ..default() }.validate(),
            "lengths.min",
        );
        check_setting(
            SpansConfig { lengths: SpanLengths::Normal { stdev: -1.0 }, ..default() }.validate(),
            "lengths.stdev",
        );
        check_setting(
            SpansConfig { lengths: SpanLengths::Normal { stdev: f64::INFINITY }, ..default() }.validate(),
            "lengths.stdev",
        );
    }
}

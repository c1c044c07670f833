//! Text networks (spec 2.3, 7.3).

use super::{Shapes, TransformerDescription};

/// A text network: learned tokens and positions, a norm, post-norm blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct TextDescription {
    /// Sizes of the Transformer.
    pub transformer: TransformerDescription,
    /// Rows of the table of tokens.
    pub vocabulary: usize,
    /// Rows of the table of positions; see [`longest`](TextDescription::longest).
    pub position_rows: usize,
    /// The id that fills short sequences up.
    pub padding_id: usize,
    /// The id at the begin of a sequence.
    pub begin_id: usize,
    /// The id at the end of a sequence.
    pub end_id: usize,
}

impl TextDescription {
    /// Longest sequence: positions count real tokens only and begin after the padding's row, so `padding_id + 1` rows
    /// of the table serve none (spec 7.5.1; 512 of 514).
    pub fn longest(&self) -> usize {
        self.position_rows - self.padding_id - 1
    }

    pub(super) fn shapes(&self) -> Shapes {
        let width = self.transformer.width;
        Shapes::from([
            ("front_end.tokens.weight".into(), vec![self.vocabulary, width]),
            ("front_end.positions.weight".into(), vec![self.position_rows, width]),
            ("front_end.norm.weight".into(), vec![width]),
            ("front_end.norm.bias".into(), vec![width]),
        ])
    }
}

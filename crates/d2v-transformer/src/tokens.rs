//! What a front end hands to the Transformer.

use crate::{Error, Result};
use tch::Tensor;

/// A batch of token sequences with what attention needs to know about them.
#[derive(Debug)]
pub struct Tokens {
    /// Token vectors `[B, L, D]`, extra tokens first.
    pub tokens_bld: Tensor,
    /// Added to the attention logits of every block: `[1 or B, H, L, L]`; absent: nothing is added.
    pub bias_bhll: Option<Tensor>,
    /// Keys that attention must not see: bool `[B, L]`, true = padding; absent: none.
    pub padding_bl: Option<Tensor>,
    /// Number of extra tokens at the front (the class token) that stand for no input position.
    pub extra: i64,
}

impl Tokens {
    /// Tokens without bias, padding or extra tokens.
    pub fn plain(tokens_bld: Tensor) -> Tokens {
        Tokens { tokens_bld, bias_bhll: None, padding_bl: None, extra: 0 }
    }

    /// Bias and padding as the one mask that attention takes: `[1 or B, 1 or H, 1 or L, L]`, added to the logits.
    ///
    /// # Errors
    /// If the shapes do not fit the tokens.
    pub(crate) fn attention_mask(&self) -> Result<Option<Tensor>> {
        let (b, l) = (self.tokens_bld.size()[0], self.tokens_bld.size()[1]);
        if let Some(padding) = &self.padding_bl
            && padding.size() != [b, l]
        {
            return Err(Error::Shape {
                what: "padding_bl",
                expected: format!("[{b}, {l}]"),
                got: padding.size(),
            });
        }
        let blocked = self.padding_bl.as_ref().map(|padding_bl| {
            let zeros = padding_bl.zeros_like().to_kind(self.tokens_bld.kind());
            zeros.masked_fill(padding_bl, f64::NEG_INFINITY).view([b, 1, 1, l])
        });
        Ok(match (&self.bias_bhll, blocked) {
            (None, None) => None,
            (None, Some(blocked)) => Some(blocked),
            (Some(bias), blocked) => {
                let size = bias.size();
                if size.len() != 4 || size[2..] != [l, l] {
                    return Err(Error::Shape {
                        what: "bias_bhll",
                        expected: format!("[1 or B, H, {l}, {l}]"),
                        got: size,
                    });
                }
                let bias = bias.to_kind(self.tokens_bld.kind());
                Some(match blocked {
                    Some(blocked) => bias + blocked,
                    None => bias,
                })
            }
        })
    }

    /// Checks the token tensor's rank and width.
    pub(crate) fn check_width(&self, width: i64) -> Result<()> {
        match self.tokens_bld.size()[..] {
            [_, _, d] if d == width => Ok(()),
            ref got => Err(Error::Shape {
                what: "tokens_bld",
                expected: format!("[B, L, {width}]"),
                got: got.to_vec(),
            }),
        }
    }
}

//! The feed-forward branch: linear, exact GELU, linear.

use crate::linear::Linear;
use crate::{Pass, Result, TransformerConfig};
use d2v_torch::{Scope, fused};
use tch::Tensor;

/// `fc2(gelu(fc1(x)))`.
#[derive(Debug)]
pub(crate) struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    activation_dropout: f64,
}

impl FeedForward {
    pub(crate) fn new(scope: &Scope<'_>, config: &TransformerConfig, index: usize) -> Result<FeedForward> {
        let (d, f) = (config.width, config.ffn_width);
        Ok(FeedForward {
            fc1: Linear::new(&scope.sub("fc1"), d, f, (config.init.linear(d, f), config.init.bias(d)))?,
            fc2: Linear::new(
                &scope.sub("fc2"),
                f,
                d,
                (config.init.branch_end(f, d, index), config.init.bias(f)),
            )?,
            activation_dropout: config.activation_dropout,
        })
    }

    /// The same layers: tensors shared.
    pub(crate) fn shared(&self) -> FeedForward {
        let (fc1, fc2) = (self.fc1.shared(), self.fc2.shared());
        FeedForward { fc1, fc2, activation_dropout: self.activation_dropout }
    }

    /// `[.., D]` to `[.., D]`.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        if self.activation_dropout > 0.0 && pass.is_training() {
            let hidden = self.fc1.forward(x)?.gelu("none");
            return self.fc2.forward(&pass.dropout(hidden, self.activation_dropout));
        }
        Ok(fused::feed_forward(x, self.fc1.map(), self.fc2.map())?)
    }
}

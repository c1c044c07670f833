//! From the student's output at hidden positions to predictions.

use crate::linear::Linear;
use crate::{Error, InitScheme, Result};
use d2v_torch::Scope;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Shape of the prediction head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeadConfig {
    /// One linear layer `d -> d` (images, speech).
    Linear {},
    /// `d -> hidden -> d` with GELU between (text: hidden = 2 d).
    Mlp {
        /// Width of the hidden layer.
        hidden: i64,
    },
}

/// The prediction head.
#[derive(Debug)]
pub struct PredictionHead {
    layers: Vec<Linear>,
}

impl PredictionHead {
    /// Registers `0` and, for the MLP, `1` (weight and bias each).
    ///
    /// # Errors
    /// If `hidden` is below 1 or a name is taken.
    pub fn new(
        scope: &Scope<'_>,
        width: i64,
        config: HeadConfig,
        init: InitScheme,
    ) -> Result<PredictionHead> {
        let widths = match config {
            HeadConfig::Linear {} => vec![width, width],
            HeadConfig::Mlp { hidden } if hidden < 1 => {
                return Err(Error::Config {
                    key: "head.hidden",
                    value: hidden.to_string(),
                    rule: "must be at least 1",
                });
            }
            HeadConfig::Mlp { hidden } => vec![width, hidden, width],
        };
        let layer = |(i, pair): (usize, &[i64])| {
            let start = (init.linear(pair[0], pair[1]), init.bias(pair[0]));
            Linear::new(&scope.sub(i), pair[0], pair[1], start)
        };
        Ok(PredictionHead { layers: widths.windows(2).enumerate().map(layer).collect::<Result<_>>()? })
    }

    /// `[M, D]` to `[M, D]`.
    ///
    /// # Errors
    /// If shapes or kinds do not fit.
    pub fn forward(&self, x_md: &Tensor) -> Result<Tensor> {
        let (first, rest) = self.layers.split_first().expect("a head has at least one layer by construction");
        rest.iter().try_fold(first.forward(x_md)?, |x, layer| layer.forward(&x.gelu("none")))
    }
}

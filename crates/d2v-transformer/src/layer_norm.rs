//! Layer norm over the last axis.

use crate::Result;
use d2v_torch::{Init, Scope};
use tch::Tensor;

/// Layer norm with a learned scale (from 1) and shift (from 0).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Registers `weight` and `bias`, both `[width]`.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(scope: &Scope<'_>, width: i64, eps: f64) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: scope.param("weight", &[width], Init::Constant(1.0))?,
            bias: scope.param("bias", &[width], Init::Constant(0.0))?,
            eps,
        })
    }

    /// The same layer: tensors shared.
    pub(crate) fn shared(&self) -> LayerNorm {
        LayerNorm { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), eps: self.eps }
    }

    /// Normalises the last axis.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Layer norm over the last axis without learned parts.
pub fn normalize(x: &Tensor, eps: f64) -> Tensor {
    let width = x.size().last().copied().unwrap_or(1);
    x.layer_norm([width], None::<&Tensor>, None::<&Tensor>, eps, true)
}

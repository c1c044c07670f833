//! `y = x Wᵀ + b`.

use crate::Result;
use d2v_torch::fused::{self, LinearMap};
use d2v_torch::{Init, Scope};
use tch::Tensor;

/// A linear layer with a bias.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Registers `weight` `[fan_out, fan_in]` and `bias` `[fan_out]` with these start values.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(scope: &Scope<'_>, fan_in: i64, fan_out: i64, (weight, bias): (Init, Init)) -> Result<Linear> {
        Ok(Linear {
            weight: scope.param("weight", &[fan_out, fan_in], weight)?,
            bias: scope.param("bias", &[fan_out], bias)?,
        })
    }

    /// Maps the last axis from `fan_in` to `fan_out`.
    ///
    /// # Errors
    /// If shapes or kinds do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(fused::linear(x, self.map())?)
    }

    /// The same layer: tensors shared.
    pub(crate) fn shared(&self) -> Linear {
        Linear { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }

    /// Weight and bias.
    pub(crate) fn map(&self) -> LinearMap<'_> {
        LinearMap { weight: &self.weight, bias: &self.bias }
    }
}

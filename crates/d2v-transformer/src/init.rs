//! Start values of the weights of a block, by scheme.

use crate::InitScheme;
use d2v_torch::Init;

impl InitScheme {
    /// Weights of a linear layer `fan_in -> fan_out`.
    pub fn linear(self, fan_in: i64, fan_out: i64) -> Init {
        match self {
            InitScheme::Beit => Init::TruncatedNormal { std: 0.02, cut: 0.02 },
            InitScheme::Bert => Init::Normal { std: 0.02 },
            InitScheme::Xavier => Init::xavier_uniform(fan_in, fan_out),
            InitScheme::Uniform => Init::default_for(fan_in),
        }
    }

    /// Biases of such a layer.
    pub fn bias(self, fan_in: i64) -> Init {
        match self {
            InitScheme::Beit | InitScheme::Bert | InitScheme::Xavier => Init::Constant(0.0),
            InitScheme::Uniform => Init::default_for(fan_in),
        }
    }

    /// Weights of the layer that ends a branch of block `index` (from 0).
    pub(crate) fn branch_end(self, fan_in: i64, fan_out: i64, index: usize) -> Init {
        match self {
            // Dividing a normal by a number divides deviation and cut alike.
            InitScheme::Beit => {
                let std = 0.02 / (2.0 * (index + 1) as f64).sqrt();
                Init::TruncatedNormal { std, cut: std }
            }
            InitScheme::Bert | InitScheme::Xavier | InitScheme::Uniform => self.linear(fan_in, fan_out),
        }
    }
}

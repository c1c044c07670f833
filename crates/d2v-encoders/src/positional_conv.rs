//! Convolutions over frames that tell where a frame stands (spec 2.2).

use crate::{PositionalConv, Result};
use d2v_torch::{Init, Scope};
use d2v_transformer::normalize;
use tch::Tensor;

/// Grouped convolution, layer norm without learned part, GELU; several of them. No weight norm.
#[derive(Debug)]
pub(crate) struct PositionalConvs {
    layers: Vec<(Tensor, Tensor)>,
    config: PositionalConv,
    norm_eps: f64,
}

impl PositionalConvs {
    /// Registers `I.weight` `[D, D/groups, kernel]` and `I.bias` `[D]`.
    pub(crate) fn new(
        scope: &Scope<'_>,
        config: PositionalConv,
        width: i64,
        norm_eps: f64,
    ) -> Result<PositionalConvs> {
        if width % config.groups != 0 {
            return Err(crate::Error::Config {
                key: "positional.groups",
                value: format!("{} with a Transformer {width} wide", config.groups),
                rule: "must divide the width",
            });
        }
        let fan_in = width / config.groups * config.kernel;
        let layer = |index: usize| {
            let scope = scope.sub(index);
            let shape = [width, width / config.groups, config.kernel];
            let init = Init::default_for(fan_in);
            Ok((scope.param("weight", &shape, init)?, scope.param("bias", &[width], init)?))
        };
        Ok(PositionalConvs {
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            config,
            norm_eps,
        })
    }

    /// `[B, L, D]` to what is added to it.
    pub(crate) fn forward(&self, x_bld: &Tensor) -> Tensor {
        let PositionalConv { kernel, groups, .. } = self.config;
        let frames = x_bld.size()[1];
        self.layers.iter().fold(x_bld.shallow_clone(), |x_bld, (weight, bias)| {
            let conv_bdl = x_bld.transpose(1, 2).conv1d(weight, Some(bias), 1, kernel / 2, 1, groups);
            // An even kernel makes one frame too many.
            let conv_bld = conv_bdl.narrow(2, 0, frames).transpose(1, 2);
            normalize(&conv_bld, self.norm_eps).gelu("none")
        })
    }
}

//! Normalisers of layer outputs: no learned part, biased variance, eps 1e-5 (spec 1.3).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

const EPS: f64 = 1e-5;

/// How a tensor `[B, L, D]` is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Not at all.
    None,
    /// Over features, per position (images and text 1.0).
    LayerNorm,
    /// Over positions, per sample and feature (speech 1.0, most of 2.0); takes away what is constant over time.
    InstanceNorm,
    /// Over samples and positions, per feature.
    BatchNorm,
    /// Over positions and features, per sample.
    GroupNorm,
}

impl Normalization {
    fn axes(self) -> Option<&'static [i64]> {
        match self {
            Normalization::None => None,
            Normalization::LayerNorm => Some(&[2]),
            Normalization::InstanceNorm => Some(&[1]),
            Normalization::BatchNorm => Some(&[0, 1]),
            Normalization::GroupNorm => Some(&[1, 2]),
        }
    }

    /// Whether a position's result depends on that position alone.
    pub fn is_per_position(self) -> bool {
        matches!(self, Normalization::None | Normalization::LayerNorm)
    }

    /// `(x - mean) / sqrt(variance + 1e-5)` over the axes of the variant. All positions take part, padding too, as in
    /// the reference.
    ///
    /// # Errors
    /// If `x_bld` is not three-dimensional, or the statistics would be of a single value, which normalises to zero
    /// whatever it is.
    pub fn apply(self, x_bld: &Tensor) -> Result<Tensor> {
        let Some(axes) = self.axes() else { return Ok(x_bld.shallow_clone()) };
        let size = x_bld.size();
        if size.len() != 3 || axes.iter().map(|&a| size[a as usize]).product::<i64>() < 2 {
            return Err(Error::Shape {
                what: "layer tensor",
                expected: format!("[B, L, D] with at least two values to normalise over for {self:?}"),
                got: size,
            });
        }
        if self == Normalization::LayerNorm {
            return Ok(x_bld.layer_norm([size[2]], None::<&Tensor>, None::<&Tensor>, EPS, true));
        }
        let mean = x_bld.mean_dim(axes, true, None::<Kind>);
        let centred = x_bld - mean;
        let scale = (centred.square().mean_dim(axes, true, None::<Kind>) + EPS).rsqrt();
        Ok(centred * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn input() -> Tensor {
        let x = Tensor::arange(2 * 5 * 4, (Kind::Double, Device::Cpu)).view([2, 5, 4]);
        (&x * 0.37).sin() * 3.0 + x * 0.05 + 1.0
    }

    #[test]
    fn statistics_over_the_axes_are_zero_and_one() {
        use Normalization::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm};
        for (norm, axes) in
            [(LayerNorm, vec![2]), (InstanceNorm, vec![1]), (BatchNorm, vec![0, 1]), (GroupNorm, vec![1, 2])]
        {
            let y = norm.apply(&input()).unwrap();
            let mean = y.mean_dim(&axes[..], false, None::<Kind>).abs().max().double_value(&[]);
            let variance = input().var_dim(&axes[..], false, false);
            let expected = &variance / (&variance + 1e-5);
            let gap = (y.var_dim(&axes[..], false, false) - expected).abs().max().double_value(&[]);
            assert!(mean < 1e-12 && gap < 1e-12, "{norm:?}: mean {mean}, variance off by {gap}");
        }
        assert!(Normalization::None.apply(&input()).unwrap().equal(&input()), "none");
    }

    #[test]
    fn positions_are_alone_where_it_is_said() {
        use Normalization::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, None};
        let other = input().index_put(
            &[Some(Tensor::from(0i64)), Some(Tensor::from(3i64))],
            &Tensor::from_slice(&[9.0, -4.0, 2.0, 7.0]),
            false,
        );
        for norm in [None, LayerNorm, InstanceNorm, BatchNorm, GroupNorm] {
            let first = |x: &Tensor| norm.apply(x).unwrap().get(0).get(0);
            assert_eq!(first(&input()).equal(&first(&other)), norm.is_per_position(), "{norm:?}");
        }
    }

    #[test]
    fn a_single_value_is_refused() {
        let one_step = input().narrow(1, 0, 1);
        assert!(Normalization::InstanceNorm.apply(&one_step).is_err(), "one time step");
        assert!(Normalization::LayerNorm.apply(&one_step).is_ok(), "over features it is fine");
        assert!(Normalization::LayerNorm.apply(&input().get(0)).is_err(), "rank 2");
    }
}

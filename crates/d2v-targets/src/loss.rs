//! How far predictions are from targets (spec 1.4).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

/// The element-wise loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossKind {
    /// `r²/(2 beta)` where `|r| < beta`, else `|r| - beta/2`: L2 near zero, L1 far from it (paper, equation 3).
    SmoothL1 {
        /// Where the square ends; above 0. Small values approach L1.
        beta: f64,
    },
    /// `r²`.
    L2 {},
}

/// Factor on the sum over features at one position of width `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossScale {
    /// 1 (text).
    One,
    /// `1/sqrt(d)` (speech, 2.0).
    InverseSqrtWidth,
    /// `1/d`: the mean over features (images 1.0).
    InverseWidth,
}

/// The loss of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The element-wise loss.
    pub element: LossKind,
    /// The factor on the sum over features.
    pub scale: LossScale,
}

impl LossConfig {
    /// Checks beta.
    ///
    /// # Errors
    /// If beta is not above 0.
    pub fn validate(&self) -> Result<()> {
        match self.element {
            LossKind::SmoothL1 { beta } if !(beta > 0.0 && beta.is_finite()) => {
                let rule = "must be above 0; use kind = \"l2\" for the square alone";
                Err(Error::Config { key: "loss.element.beta", value: beta.to_string(), rule })
            }
            _ => Ok(()),
        }
    }

    /// The scaled loss **summed** over hidden positions and features, a scalar in f32 (f64 from f64).
    ///
    /// Dividing by the number of hidden positions is the caller's: it must be the number over all micro-batches and
    /// processes of an update, which is not the mean of their means where counts differ.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn sum(&self, predictions_md: &Tensor, targets_md: &Tensor) -> Result<Tensor> {
        if predictions_md.size() != targets_md.size() || predictions_md.dim() != 2 {
            let expected = format!("[M, D] as the targets {:?}", targets_md.size());
            return Err(Error::Shape { what: "predictions", expected, got: predictions_md.size() });
        }
        let predictions = match predictions_md.kind() {
            Kind::Double => predictions_md.shallow_clone(),
            _ => predictions_md.to_kind(Kind::Float),
        };
        let sum = match self.element {
            LossKind::SmoothL1 { beta } => predictions.smooth_l1_loss(targets_md, Reduction::Sum, beta),
            LossKind::L2 {} => predictions.mse_loss(targets_md, Reduction::Sum),
        };
        Ok(sum * self.factor(targets_md.size()[1]))
    }

    /// The factor for a width.
    fn factor(&self, width: i64) -> f64 {
        match self.scale {
            LossScale::One => 1.0,
            LossScale::InverseSqrtWidth => 1.0 / (width as f64).sqrt(),
            LossScale::InverseWidth => 1.0 / width as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(element: LossKind, scale: LossScale, residuals: &[f64]) -> f64 {
        let predictions = Tensor::from_slice(residuals).view([1, -1]);
        let loss = LossConfig { element, scale };
        loss.sum(&predictions, &predictions.zeros_like()).unwrap().double_value(&[])
    }

    proptest! {
        #[test]
        fn smooth_l1_is_the_formula(r in -10.0..10.0f64, beta in 0.01..5.0f64) {
            let expected = if r.abs() < beta { r * r / (2.0 * beta) } else { r.abs() - beta / 2.0 };
            let got = sum(LossKind::SmoothL1 { beta }, LossScale::One, &[r]);
            prop_assert!((got - expected).abs() < 1e-12, "{got} against {expected}");
        }
    }

    #[test]
    fn scales_are_those_of_the_modalities() {
        let residuals = [1.0, -2.0, 3.0, 0.5];
        let check = |scale, expected: f64| {
            let got = sum(LossKind::L2 {}, scale, &residuals);
            assert!((got - expected).abs() < 1e-12, "{scale:?}: {got}");
        };
        check(LossScale::One, 14.25);
        check(LossScale::InverseSqrtWidth, 14.25 / 2.0);
        check(LossScale::InverseWidth, 14.25 / 4.0);
    }

    #[test]
    fn nonsense_is_refused() {
        let loss = |beta| LossConfig { element: LossKind::SmoothL1 { beta }, scale: LossScale::One };
        assert!(loss(0.0).validate().is_err() && loss(f64::NAN).validate().is_err(), "beta");
        let x = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu));
        assert!(loss(1.0).sum(&x, &x.narrow(0, 0, 1)).is_err(), "silent broadcast");
    }
}

//! Which box a random resized crop shows: the draw alone, no pixels.

use super::check_setting;
use crate::error::Error;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How large and how stretched the box of a random resized crop may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropRange {
    /// Smallest share of the picture's area, above 0. Default 0.08.
    pub area_min: f64,
    /// Largest share of the picture's area, at most 1. Default 1.
    pub area_max: f64,
    /// Smallest width over height. Default 3/4.
    pub aspect_min: f64,
    /// Largest width over height. Default 4/3.
    pub aspect_max: f64,
}

impl Default for CropRange {
    fn default() -> Self {
        Self { area_min: 0.08, area_max: 1.0, aspect_min: 3.0 / 4.0, aspect_max: 4.0 / 3.0 }
    }
}

/// Boxes drawn before the central one is taken instead.
const TRIES: usize = 10;

/// A box inside a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CropBox {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl CropBox {
    /// The box of this size whose centre is that of the picture.
    pub(super) fn central(width: u32, height: u32, of: (u32, u32)) -> Self {
        Self { left: (of.0 - width) / 2, top: (of.1 - height) / 2, width, height }
    }
}

impl CropRange {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let Self { area_min, area_max, aspect_min, aspect_max } = *self;
        check_setting(
            "area_min",
            area_min,
            |x| x > 0.0 && x <= area_max,
            "must be above 0 and at most `area_max`",
        )?;
        check_setting("area_max", area_max, |x| x <= 1.0, "must be at most 1")?;
        let rule = "must be above 0 and at most `aspect_max`";
        check_setting("aspect_min", aspect_min, |x| x > 0.0 && x <= aspect_max, rule)?;
        check_setting("aspect_max", aspect_max, f64::is_finite, "must be finite")
    }

    /// Draws a box in a picture of `width` by `height` (torchvision's `RandomResizedCrop`, specification 2.1).
    ///
    /// Up to 10 times: area uniform, aspect log-uniform, sides rounded (half to even), accepted if the box fits, then
    /// placed uniformly. Otherwise the largest central box whose aspect is within range.
    pub(super) fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> CropBox {
        let area = f64::from(width) * f64::from(height);
        let log_aspect = self.aspect_min.ln()..=self.aspect_max.ln();
        for _ in 0..TRIES {
            let target = area * rng.random_range(self.area_min..=self.area_max);
            let aspect = rng.random_range(log_aspect.clone()).exp();
            let w = (target * aspect).sqrt().round_ties_even() as u32;
            let h = (target / aspect).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = rng.random_range(0..=height - h);
                let left = rng.random_range(0..=width - w);
                return CropBox { left, top, width: w, height: h };
            }
        }
        let aspect = f64::from(width) / f64::from(height);
        let within = |side: f64, most: u32| (side.round_ties_even() as u32).clamp(1, most);
        let (w, h) = if aspect < self.aspect_min {
            (width, within(f64::from(width) / self.aspect_min, height))
        } else if aspect > self.aspect_max {
            (within(f64::from(height) * self.aspect_max, width), height)
        } else {
            (width, height)
        };
        CropBox::central(w, h, (width, height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::AugmentKey;
    use proptest::prelude::*;

    fn draw(width: u32, height: u32, sample_id: u64) -> CropBox {
        let mut rng = AugmentKey { seed: 0, epoch: 0, sample_id }.rng();
        CropRange::default().draw(width, height, &mut rng)
    }

    proptest! {
        #[test]
        fn the_box_lies_inside(width in 1_u32..3_000, height in 1_u32..3_000, id: u64) {
            let CropBox { left, top, width: w, height: h } = draw(width, height, id);
            prop_assert!(w >= 1 && h >= 1 && left + w <= width && top + h <= height);
        }
    }

    /// In a square of 1,000 pixels: the log of the aspect has mean 0 and variance (2 ln 4/3)^2/12 if it does not
    /// depend on acceptance, so only boxes up to 0.5 of the area are drawn, which always fit (0.5 * 4/3 < 1).
    #[test]
    fn area_is_uniform_and_aspect_log_uniform() {
        let range = CropRange { area_max: 0.5, ..CropRange::default() };
        let n = 5_000;
        let (mut areas, mut aspects) = (Vec::new(), Vec::new());
        for sample_id in 0..n {
            let mut rng = AugmentKey { seed: 0, epoch: 0, sample_id }.rng();
            let found = range.draw(1_000, 1_000, &mut rng);
            areas.push(f64::from(found.width) * f64::from(found.height) / 1e6);
            aspects.push((f64::from(found.width) / f64::from(found.height)).ln());
        }
        let check = |values: &[f64], low: f64, high: f64| {
            let count = values.len() as f64;
            let (mean, width) = ((low + high) / 2.0, high - low);
            let got = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            // Rounding a side of 280 pixels or more moves area and aspect by under 1/280 either way: 0.1 % on average.
            let rounding = 1e-3 * width;
            assert!((got - mean).abs() < 5.0 * width / (12.0 * count).sqrt() + rounding, "{got} {mean}");
            let spread = width.powi(4) * (1.0 / 80.0 - 1.0 / 144.0);
            assert!(
                (variance - width * width / 12.0).abs() < 5.0 * (spread / count).sqrt() + rounding * width
            );
        };
        check(&areas, 0.08, 0.5);
        check(&aspects, (3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln());
    }

    #[test]
    fn a_strip_gets_its_central_box() {
        // No box of 8 % of the area with an aspect of 3/4 or more fits into 10 x 1,000.
        assert_eq!(draw(10, 1_000, 0), CropBox { left: 0, top: 493, width: 10, height: 13 });
        assert_eq!(draw(1_000, 10, 0), CropBox { left: 493, top: 0, width: 13, height: 10 });
    }
}

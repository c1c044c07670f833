//! Random brightness, contrast and saturation, to the byte as torchvision's `ColorJitter` does on PIL pictures.

use super::check_setting;
use crate::error::Error;
use crate::picture::ImageRgb;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How far colours may change. Each factor is uniform in `[max(0, 1 - x), 1 + x]` for a strength `x`; the operations
/// come in random order. No hue (specification 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColourJitter {
    /// Strength of the change of brightness, 0 or more. Default 0.4.
    pub brightness: f64,
    /// Strength of the change of contrast, 0 or more. Default 0.4.
    pub contrast: f64,
    /// Strength of the change of saturation, 0 or more. Default 0.4.
    pub saturation: f64,
}

impl Default for ColourJitter {
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4 }
    }
}

/// One change of colour; a factor of 1 changes nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// Towards black (0), away from it (above 1).
    Brightness(f32),
    /// Towards the mean grey of the picture.
    Contrast(f32),
    /// Towards the grey of each pixel.
    Saturation(f32),
}

impl ColourJitter {
    /// Leaves colours alone.
    pub const OFF: Self = Self { brightness: 0.0, contrast: 0.0, saturation: 0.0 };

    pub(super) fn validate(&self) -> Result<(), Error> {
        for (setting, value) in [
            ("colour_jitter.brightness", self.brightness),
            ("colour_jitter.contrast", self.contrast),
            ("colour_jitter.saturation", self.saturation),
        ] {
            check_setting(setting, value, |x| (0.0..=10.0).contains(&x), "must be 0 to 10")?;
        }
        Ok(())
    }

    /// The changes to make, in order; those of strength 0 are left out.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Vec<Change> {
        let mut factor = |strength: f64| {
            (strength > 0.0).then(|| rng.random_range((1.0 - strength).max(0.0)..=1.0 + strength) as f32)
        };
        let drawn = [
            factor(self.brightness).map(Change::Brightness),
            factor(self.contrast).map(Change::Contrast),
            factor(self.saturation).map(Change::Saturation),
        ];
        let mut changes: Vec<Change> = drawn.into_iter().flatten().collect();
        changes.shuffle(rng);
        changes
    }

    pub(super) fn apply(&self, picture: &mut ImageRgb, rng: &mut impl Rng) {
        for change in self.draw(rng) {
            change.apply(picture.as_bytes_mut());
        }
    }
}

impl Change {
    pub(super) fn apply(self, rgb: &mut [u8]) {
        match self {
            Self::Brightness(factor) => map_bytes(rgb, |value| blend(0, value, factor)),
            Self::Contrast(factor) => {
                let mean = mean_grey(rgb);
                map_bytes(rgb, |value| blend(mean, value, factor));
            }
            Self::Saturation(factor) => {
                for pixel in rgb.chunks_exact_mut(3) {
                    let grey = grey(pixel);
                    for value in pixel {
                        *value = blend(grey, *value, factor);
                    }
                }
            }
        }
    }
}

/// Applies a function of one byte through a table.
fn map_bytes(bytes: &mut [u8], function: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|value| function(value as u8));
    for value in bytes {
        *value = table[usize::from(*value)];
    }
}

/// ITU-R 601 luma in the fixed point of PIL's conversion to "L".
fn grey(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

/// The mean grey, rounded as `ImageEnhance.Contrast` does.
fn mean_grey(rgb: &[u8]) -> u8 {
    let sum: u64 = rgb.chunks_exact(3).map(|pixel| u64::from(grey(pixel))).sum();
    let pixels = (rgb.len() / 3) as f64;
    (sum as f64 / pixels + 0.5) as u8
}

/// `from + factor * (to - from)`, cut to a byte; fractions are dropped, as PIL does.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A float-to-integer cast drops the fraction and saturates, which is what is wanted at both ends.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::AugmentKey;

    fn rng(sample_id: u64) -> impl Rng {
        AugmentKey { seed: 0, epoch: 0, sample_id }.rng()
    }

    /// Expected bytes: tests/fixtures/make_fixtures.py, PIL's ImageEnhance on the same 8 x 8 picture.
    #[test]
    fn equals_pil_byte_for_byte() {
        let source = include_bytes!("../../tests/fixtures/jitter_source_8x8.rgb");
        let check = |change: Change, expected: &[u8]| {
            let mut rgb = source.to_vec();
            change.apply(&mut rgb);
            assert_eq!(rgb, expected, "{change:?}");
        };
        check(Change::Brightness(0.6), include_bytes!("../../tests/fixtures/jitter_brightness_0.6.rgb"));
        check(Change::Brightness(1.4), include_bytes!("../../tests/fixtures/jitter_brightness_1.4.rgb"));
        check(Change::Contrast(0.7), include_bytes!("../../tests/fixtures/jitter_contrast_0.7.rgb"));
        check(Change::Contrast(1.3), include_bytes!("../../tests/fixtures/jitter_contrast_1.3.rgb"));
        check(Change::Saturation(0.65), include_bytes!("../../tests/fixtures/jitter_saturation_0.65.rgb"));
        check(Change::Saturation(1.35), include_bytes!("../../tests/fixtures/jitter_saturation_1.35.rgb"));
    }

    #[test]
    fn a_factor_of_one_changes_nothing() {
        let source: Vec<u8> = (0..=254).collect();
        for change in [Change::Brightness(1.0), Change::Contrast(1.0), Change::Saturation(1.0)] {
            let mut rgb = source.clone();
            change.apply(&mut rgb);
            assert_eq!(rgb, source, "{change:?}");
        }
    }

    /// Mean and variance of a uniform on [0.6, 1.4], and each of six orders, within five standard errors.
    #[test]
    fn factors_are_uniform_and_orders_equally_likely() {
        let n = 6_000;
        let mut factors = Vec::new();
        let mut orders = std::collections::HashMap::<String, u32>::new();
        for id in 0..n {
            let mut order = String::new();
            for change in ColourJitter::default().draw(&mut rng(id)) {
                let (letter, factor) = match change {
                    Change::Brightness(factor) => ('b', factor),
                    Change::Contrast(factor) => ('c', factor),
                    Change::Saturation(factor) => ('s', factor),
                };
                order.push(letter);
                factors.push(f64::from(factor));
            }
            *orders.entry(order).or_default() += 1;
        }
        let count = factors.len() as f64;
        let mean = factors.iter().sum::<f64>() / count;
        let variance = factors.iter().map(|factor| (factor - 1.0).powi(2)).sum::<f64>() / count;
        // Width w = 0.8: variance w^2/12; variance of the squared deviation w^4 (1/80 - 1/144).
        let (expected, spread) = (0.8_f64.powi(2) / 12.0, 0.8_f64.powi(4) * (1.0 / 80.0 - 1.0 / 144.0));
        assert!((mean - 1.0).abs() < 5.0 * (expected / count).sqrt(), "{mean}");
        assert!((variance - expected).abs() < 5.0 * (spread / count).sqrt(), "{variance}");
        assert!(factors.iter().all(|factor| (0.6 - 1e-6..=1.4 + 1e-6).contains(factor)));
        let bound = 5.0 * (n as f64 * 5.0 / 36.0).sqrt();
        assert_eq!(orders.len(), 6);
        assert!(
            orders.values().all(|&count| (f64::from(count) - n as f64 / 6.0).abs() < bound),
            "{orders:?}"
        );
    }

    #[test]
    fn strengths_above_one_never_give_a_negative_factor() {
        let jitter = ColourJitter { brightness: 3.0, ..ColourJitter::OFF };
        for id in 0..200 {
            let changes = jitter.draw(&mut rng(id));
            assert!(
                matches!(changes[..], [Change::Brightness(factor)] if (0.0..=4.0).contains(&factor)),
                "{changes:?}"
            );
        }
    }
}

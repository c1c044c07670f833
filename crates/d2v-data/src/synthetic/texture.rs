//! What fills shapes and backgrounds: two patterns with the same share of light and dark.

use rand::{Rng, RngExt};
use std::f32::consts::TAU;
use std::ops::Range;

/// The kind of a texture; it belongs to the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Stripes,
    Checks,
}

impl Pattern {
    pub(super) const ALL: [Self; 2] = [Self::Stripes, Self::Checks];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stripes => "stripes",
            Self::Checks => "checks",
        }
    }
}

/// A pattern with direction, period, phase and two colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texture {
    pattern: Pattern,
    /// Wave vector in periods per picture, and phase in periods.
    wave: (f32, f32),
    phase: (f32, f32),
    /// Middle colour and half the difference between the light and the dark colour.
    middle: [f32; 3],
    swing: [f32; 3],
}

impl Texture {
    /// Draws everything but the pattern; `contrast` is the range of half the difference between light and dark.
    pub(super) fn draw(pattern: Pattern, contrast: Range<f32>, rng: &mut impl Rng) -> Self {
        let periods = rng.random_range(3.0..6.0_f32);
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        let phase = (rng.random(), rng.random());
        let middle = std::array::from_fn(|_| rng.random_range(0.25..0.75));
        let contrast = rng.random_range(contrast);
        let swing = std::array::from_fn(|_| contrast * rng.random_range(0.4..1.0_f32));
        Self { pattern, wave: (periods * cos, periods * sin), phase, middle, swing }
    }

    /// The colour at a point of the picture, whose sides are 1; each channel about 0 to 1.
    pub(super) fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        let along = soft_square(self.wave.0 * x + self.wave.1 * y + self.phase.0);
        let value = match self.pattern {
            Pattern::Stripes => along,
            Pattern::Checks => along * soft_square(self.wave.0 * y - self.wave.1 * x + self.phase.1),
        };
        std::array::from_fn(|channel| self.middle[channel] + value * self.swing[channel])
    }
}

/// A wave of period 1 between -1 and 1, flat but for short ramps.
fn soft_square(x: f32) -> f32 {
    let triangle = 4.0 * (x - x.floor() - 0.5).abs() - 1.0;
    (3.0 * triangle).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::AugmentKey;

    #[test]
    fn patterns_are_half_light_half_dark() {
        for pattern in Pattern::ALL {
            let mut rng = AugmentKey { seed: 0, epoch: 0, sample_id: 0 }.rng();
            let texture = Texture::draw(pattern, 0.1..0.3, &mut rng);
            let steps = 500;
            let mut sum = 0.0;
            for i in 0..steps {
                for j in 0..steps {
                    // Over many periods, so that what is left of a cut period does not count.
                    let at = |k: i32| 40.0 * k as f32 / steps as f32;
                    sum += f64::from(texture.colour(at(i), at(j))[0] - texture.middle[0]);
                }
            }
            let mean = sum / f64::from(steps * steps) / f64::from(texture.swing[0]);
            assert!(mean.abs() < 0.02, "{pattern:?}: {mean}");
        }
    }
}

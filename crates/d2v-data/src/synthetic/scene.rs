//! One picture: what is where, then the pixels.

use super::shape::Shape;
use super::texture::{Pattern, Texture};
use crate::error::Error;
use crate::picture::ImageRgb;
use rand::{Rng, RngExt};
use std::ops::Range;

/// Everything about a picture but its size and noise. Coordinates run from 0 to 1, y downwards.
pub(super) struct Scene {
    shape: Shape,
    inside: Texture,
    outside: Texture,
    centre: (f32, f32),
    /// Cosine and sine of the rotation, divided by the size, so that they map to the shape's own coordinates.
    turn: (f32, f32),
    strokes: Vec<Stroke>,
    /// Change of brightness across the picture, right and down.
    light: (f32, f32),
}

/// A straight line across shape and background.
struct Stroke {
    normal: (f32, f32),
    offset: f32,
    half_width: f32,
    colour: [f32; 3],
}

/// The background is fainter than the shape on average, but often is not.
const INSIDE_CONTRAST: Range<f32> = 0.14..0.3;
const OUTSIDE_CONTRAST: Range<f32> = 0.05..0.2;

/// Standard deviation of the noise on each byte.
const NOISE: f32 = 5.0;

impl Scene {
    pub(super) fn draw(shape: Shape, inside: Pattern, rng: &mut impl Rng) -> Self {
        let side = rng.random_range(0.18..0.4_f32).sqrt();
        let centre = (rng.random_range(0.36..0.64), rng.random_range(0.36..0.64));
        let (sin, cos) = rng.random_range(-0.3..0.3_f32).sin_cos();
        let outside = Pattern::ALL[rng.random_range(0..Pattern::ALL.len())];
        let strokes = (0..rng.random_range(0..=2)).map(|_| Stroke::draw(rng)).collect();
        Self {
            shape,
            inside: Texture::draw(inside, INSIDE_CONTRAST, rng),
            outside: Texture::draw(outside, OUTSIDE_CONTRAST, rng),
            centre,
            turn: (cos / side, sin / side),
            strokes,
            light: (rng.random_range(-0.25..0.25), rng.random_range(-0.25..0.25)),
        }
    }

    /// The pixels, each the mean of four points.
    pub(super) fn render(&self, size_px: u32, rng: &mut impl Rng) -> Result<ImageRgb, Error> {
        let scale = 1.0 / size_px as f32;
        let mut rgb = Vec::with_capacity(3 * size_px as usize * size_px as usize);
        for row in 0..size_px {
            for column in 0..size_px {
                let (left, top) = (column as f32 * scale, row as f32 * scale);
                let mut sum = [0.0; 3];
                for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                    let colour = self.colour(left + dx * scale, top + dy * scale);
                    for (sum, value) in sum.iter_mut().zip(colour) {
                        *sum += value;
                    }
                }
                let light = 1.0 + self.light.0 * (left - 0.5) + self.light.1 * (top - 0.5);
                for value in sum {
                    let value = 255.0 / 4.0 * value * light + NOISE * noise(rng);
                    // The cast saturates, so that noise cannot wrap around.
                    rgb.push((value + 0.5) as u8);
                }
            }
        }
        ImageRgb::new(size_px, size_px, rgb)
    }

    fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        if let Some(stroke) = self.strokes.iter().find(|stroke| stroke.contains(x, y)) {
            return stroke.colour;
        }
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let (u, v) = (self.turn.0 * dx + self.turn.1 * dy, self.turn.0 * dy - self.turn.1 * dx);
        if self.shape.contains(u, v) { self.inside.colour(x, y) } else { self.outside.colour(x, y) }
    }
}

impl Stroke {
    fn draw(rng: &mut impl Rng) -> Self {
        let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
        let (x, y): (f32, f32) = (rng.random(), rng.random());
        Self {
            normal: (cos, sin),
            offset: cos * x + sin * y,
            half_width: rng.random_range(0.01..0.025),
            colour: std::array::from_fn(|_| rng.random_range(0.1..0.9)),
        }
    }

    fn contains(&self, x: f32, y: f32) -> bool {
        (self.normal.0 * x + self.normal.1 * y - self.offset).abs() < self.half_width
    }
}

/// Roughly normal with deviation 1: the sum of the eight nibbles of a draw (each uniform on 0 to 15, variance 21.25).
fn noise(rng: &mut impl Rng) -> f32 {
    let bits = rng.next_u32();
    let sum: u32 = (0..8).map(|nibble| bits >> (4 * nibble) & 15).sum();
    (sum as f32 - 60.0) / 13.038
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::AugmentKey;

    #[test]
    fn noise_has_the_stated_deviation() {
        let mut rng = AugmentKey { seed: 0, epoch: 0, sample_id: 0 }.rng();
        let n = 20_000;
        let values: Vec<f64> = (0..n).map(|_| f64::from(noise(&mut rng))).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|value| value * value).sum::<f64>() / f64::from(n);
        // Five standard errors of the mean and, for nearly normal values, of the variance.
        assert!(mean.abs() < 5.0 / f64::from(n).sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{variance}");
    }
}

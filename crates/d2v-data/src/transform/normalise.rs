//! From bytes to normalised numbers.

use super::check_setting;
use crate::error::Error;
use crate::picture::ImageRgb;
use ndarray::Array3;
use serde::{Deserialize, Serialize};

/// Each channel becomes `(value / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Normalisation {
    /// Mean of red, green and blue, on the scale from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, above 0.
    pub std: [f32; 3],
}

impl Default for Normalisation {
    /// ImageNet's (specification 2.1).
    fn default() -> Self {
        Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }
}

impl Normalisation {
    /// Leaves values between 0 and 1.
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    pub(super) fn validate(&self) -> Result<(), Error> {
        for value in self.mean {
            check_setting("normalisation.mean", value, f32::is_finite, "must be finite")?;
        }
        for value in self.std {
            let allowed = |std: f32| std.is_finite() && std >= f32::EPSILON;
            check_setting("normalisation.std", value, allowed, "must be finite and above 0")?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, picture: &ImageRgb) -> Array3<f32> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut planes = Vec::with_capacity(3 * width * height);
        for (channel, (mean, std)) in self.mean.into_iter().zip(self.std).enumerate() {
            let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
            planes.extend(picture.as_bytes().chunks_exact(3).map(|pixel| table[usize::from(pixel[channel])]));
        }
        Array3::from_shape_vec((3, height, width), planes).expect("three planes of the picture's size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_separated_and_scaled() {
        let picture = ImageRgb::new(2, 1, vec![0, 51, 255, 255, 51, 0]).unwrap();
        let array = Normalisation { mean: [0.5, 0.2, 0.0], std: [0.5, 1.0, 2.0] }.apply(&picture);
        let expected = [-1.0, 1.0, 0.0, 0.0, 0.5, 0.0];
        for (got, expected) in array.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{array}");
        }
    }
}

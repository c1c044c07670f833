//! Augmentation of a picture: colours, flip, geometry, normalisation, in this order.
//!
//! The order and all defaults are those of data2vec's image pre-training (specification 2.1); [`ImageTransform`] makes
//! each step a setting. Colour and geometry work on bytes, rounding where the reference's imaging library rounds.

mod audio;
mod crop;
mod geometry;
mod jitter;
mod normalise;
mod resize;
mod text;

pub(crate) use audio::crop as crop_sound;
pub use audio::{AudioTransform, Ragged};
pub use crop::CropRange;
pub use geometry::Geometry;
pub use jitter::ColourJitter;
pub use normalise::Normalisation;
pub use resize::resize;
pub use text::TextTransform;

use crate::dataset::{Input, RawSample};
use crate::error::Error;
use crate::picture::ImageRgb;
use crate::random::AugmentKey;
use ndarray::Array3;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// How a decoded sample becomes the network's input; one variant per modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "modality", rename_all = "kebab-case")]
pub enum Transform {
    /// For pictures.
    Image(ImageTransform),
    /// For sound.
    Audio(AudioTransform),
    /// For text.
    Text(TextTransform),
}

impl Default for Transform {
    fn default() -> Self {
        Self::Image(ImageTransform::default())
    }
}

impl Transform {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Image(transform) => transform.validate(),
            Self::Audio(transform) => transform.validate(),
            Self::Text(_) => Ok(()),
        }
    }

    /// The transform for evaluation that goes with this one: nothing random, and every sample whole.
    pub fn for_evaluation(&self) -> Self {
        match self {
            Self::Image(transform) => Self::Image(transform.for_evaluation()),
            Self::Audio(transform) => Self::Audio(transform.for_evaluation()),
            Self::Text(transform) => Self::Text(transform.clone()),
        }
    }

    /// Augments a sample: a pure function of the sample and the key.
    ///
    /// # Errors
    /// [`Error::Setting`] if the settings are not valid; [`Error::Modality`] if the sample is of another modality.
    pub fn apply(&self, sample: RawSample, key: AugmentKey) -> Result<Input, Error> {
        match (self, sample) {
            (Self::Image(transform), RawSample::Image(picture)) => {
                transform.apply(picture, key).map(Input::Image)
            }
            (Self::Audio(transform), RawSample::Audio(sound)) => {
                transform.apply(sound, key).map(Input::Audio)
            }
            (Self::Text(_), RawSample::Text(tokens)) => Ok(Input::Text(tokens)),
            (transform, sample) => {
                Err(Error::Modality { data: sample.modality(), transform: transform.modality() })
            }
        }
    }

    pub(crate) fn modality(&self) -> &'static str {
        match self {
            Self::Image(_) => "pictures",
            Self::Audio(_) => "sound",
            Self::Text(_) => "text",
        }
    }
}

/// The steps from a decoded picture to a normalised array.
///
/// ```
/// use d2v_data::ImageTransform;
/// let transform: ImageTransform = toml::from_str(r#"
///     flip_probability = 0.5
///     [geometry]
///     kind = "random-shift"
///     size_px = 32
///     max_shift_px = 4
/// "#)?;
/// assert_eq!(transform.size_px(), 32);
/// assert!(toml::from_str::<ImageTransform>("flip = 0.5").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageTransform {
    /// Random brightness, contrast and saturation; all 0 (the default when only some keys are given in a file is the
    /// published 0.4 each) leaves colours alone.
    pub colour_jitter: ColourJitter,
    /// The probability of mirroring left to right, 0 to 1. Default 0.5.
    pub flip_probability: f64,
    /// What part of the picture is shown, and at which size.
    pub geometry: Geometry,
    /// Mean and deviation of each channel. Default ImageNet's.
    pub normalisation: Normalisation,
}

impl Default for ImageTransform {
    fn default() -> Self {
        Self::pretraining(224)
    }
}

impl ImageTransform {
    /// The published pre-training pipeline (specification 2.1) at a size: jitter 0.4, flip, random resized crop.
    pub fn pretraining(size_px: u32) -> Self {
        Self {
            colour_jitter: ColourJitter::default(),
            flip_probability: 0.5,
            geometry: Geometry::RandomResizedCrop { size_px, range: CropRange::default() },
            normalisation: Normalisation::default(),
        }
    }

    /// For small pictures, where a crop of 8 % of the area would leave nothing: a random shift and flip, no jitter.
    pub fn small(size_px: u32, max_shift_px: u32) -> Self {
        Self {
            colour_jitter: ColourJitter::OFF,
            flip_probability: 0.5,
            geometry: Geometry::RandomShift { size_px, max_shift_px },
            normalisation: Normalisation::default(),
        }
    }

    /// The same picture every time: no jitter, no flip, the given geometry.
    pub fn evaluation(geometry: Geometry, normalisation: Normalisation) -> Self {
        Self { colour_jitter: ColourJitter::OFF, flip_probability: 0.0, geometry, normalisation }
    }

    /// What evaluation should show a network trained with this transform: the same size and normalisation.
    ///
    /// After random resized crops: the shorter side resized to 8/7 of the size, then the centre (256 and 224, as usual
    /// for ImageNet). After shifts: the whole picture. A geometry without randomness stays as it is.
    pub fn for_evaluation(&self) -> Self {
        Self::evaluation(self.geometry.for_evaluation(), self.normalisation)
    }

    /// Width and height of what comes out, in pixels.
    pub fn size_px(&self) -> u32 {
        self.geometry.size_px()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.colour_jitter.validate()?;
        check_setting(
            "flip_probability",
            self.flip_probability,
            |p| (0.0..=1.0).contains(&p),
            "must be 0 to 1",
        )?;
        self.geometry.validate()?;
        self.normalisation.validate()
    }

    /// Augments a picture: a pure function of picture and key. Returns `[3, size_px, size_px]`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the settings are not valid.
    pub fn apply(&self, mut picture: ImageRgb, key: AugmentKey) -> Result<Array3<f32>, Error> {
        self.validate()?;
        let mut rng = key.rng();
        self.colour_jitter.apply(&mut picture, &mut rng);
        if rng.random_bool(self.flip_probability) {
            picture.flip_horizontally();
        }
        let picture = self.geometry.apply(&picture, &mut rng);
        Ok(self.normalisation.apply(&picture))
    }
}

pub(crate) fn check_setting<T: Copy + ToString>(
    setting: &'static str,
    value: T,
    allowed: impl FnOnce(T) -> bool,
    rule: &'static str,
) -> Result<(), Error> {
    if allowed(value) { Ok(()) } else { Err(Error::Setting { setting, value: value.to_string(), rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(sample_id: u64) -> AugmentKey {
        AugmentKey { seed: 1, epoch: 2, sample_id }
    }

    fn noise(width: u32, height: u32) -> ImageRgb {
        let bytes = (0..3 * width * height).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        ImageRgb::new(width, height, bytes).unwrap()
    }

    #[test]
    fn the_same_key_gives_the_same_input_and_another_another() {
        let transform = ImageTransform::pretraining(16);
        let of = |id| transform.apply(noise(40, 30), key(id)).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn evaluation_depends_on_no_key() {
        let transform = ImageTransform::pretraining(16).for_evaluation();
        let of = |id| transform.apply(noise(40, 30), key(id)).unwrap();
        assert_eq!(of(1), of(2));
    }

    #[test]
    fn half_of_the_pictures_are_flipped() {
        let transform = ImageTransform::evaluation(Geometry::Resize { size_px: 2 }, Normalisation::NONE);
        let transform = ImageTransform { flip_probability: 0.5, ..transform };
        let picture = ImageRgb::new(2, 2, [[0; 3], [255; 3], [0; 3], [255; 3]].concat()).unwrap();
        let n = 2_000;
        let flipped =
            (0..n).filter(|&id| transform.apply(picture.clone(), key(id)).unwrap()[[0, 0, 0]] > 0.5).count();
        // Five standard errors of a binomial with p = 1/2.
        let bound = 5.0 * (n as f64 / 4.0).sqrt();
        assert!((flipped as f64 - n as f64 / 2.0).abs() < bound, "{flipped} of {n}");
    }

    #[test]
    fn settings_are_checked_and_stray_keys_refused() {
        let with =
            |text: &str| toml::from_str::<ImageTransform>(text).map(|transform| transform.validate().is_ok());
        assert_eq!(with(""), Ok(true));
        assert_eq!(with("flip_probability = 1.5"), Ok(false));
        assert_eq!(with("flip_probability = nan"), Ok(false));
        assert_eq!(with("colour_jitter.brightness = -1.0"), Ok(false));
        assert_eq!(with("normalisation.std = [0.0, 1.0, 1.0]"), Ok(false));
        assert_eq!(with("geometry = { kind = 'resize', size_px = 0 }"), Ok(false));
        assert_eq!(with("geometry = { kind = 'random-shift', size_px = 8, max_shift_px = 8 }"), Ok(false));
        assert!(with("geometry = { kind = 'resize', size_px = 8, stray = 1 }").is_err());
        assert!(with("stray = 1").is_err());
        let transform = Transform::Image(ImageTransform::small(28, 3));
        let text = toml::to_string(&transform).unwrap();
        assert_eq!(toml::from_str::<Transform>(&text).unwrap(), transform, "{text}");
    }

    proptest! {
        #[test]
        fn always_finite_and_of_the_right_shape(width in 1_u32..60, height in 1_u32..60, size in 1_u32..40, id: u64, kind in 0..4) {
            let geometry = match kind {
                0 => Geometry::RandomResizedCrop { size_px: size, range: CropRange::default() },
                1 => Geometry::RandomShift { size_px: size, max_shift_px: size / 2 },
                2 => Geometry::CentreCrop { size_px: size, shorter_side_px: size + 3 },
                _ => Geometry::Resize { size_px: size },
            };
            let transform = ImageTransform { geometry, ..ImageTransform::default() };
            let array = transform.apply(noise(width, height), key(id)).unwrap();
            prop_assert_eq!(array.dim(), (3, size as usize, size as usize));
            // The darkest and the brightest byte under ImageNet's normalisation.
            prop_assert!(array.iter().all(|value| (-2.12..2.65).contains(value)));
        }
    }
}

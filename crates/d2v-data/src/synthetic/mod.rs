//! The built-in data set: pictures drawn by the program, with labels known, so that nothing needs downloading.

mod language;
mod scene;
mod shape;
mod text;
mod texture;

pub use text::{SyntheticText, SyntheticTextConfig};

use crate::dataset::{Dataset, RawSample, Split};
use crate::error::Error;
use crate::random::{Domain, keyed_rng};
use scene::Scene;
use serde::{Deserialize, Serialize};
use shape::Shape;
use texture::Pattern;

/// Size and length of the built-in data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// Another seed draws another data set. Keep it when comparing runs of several seeds. Default 0.
    pub seed: u64,
    /// Side in pixels, 8 to 1,024. Default 32.
    pub size_px: u32,
    /// Pictures to train on, at least 1. They are drawn when asked for, so length costs nothing. Default 20,000.
    pub train_images: usize,
    /// Pictures to test on, at least 1, different from those. Default 4,000.
    pub test_images: usize,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { seed: 0, size_px: 32, train_images: 20_000, test_images: 4_000 }
    }
}

/// Pictures of one textured shape before a textured background, ten classes.
///
/// The class is the shape (disc, square, triangle, cross, ring) together with the texture that fills it (stripes or
/// checks). The background has one of the same textures, drawn independently of the class, and often as strong. So the
/// class cannot be read from which textures occur, but only from what lies inside what. Colours, contrast, position,
/// area (equally distributed for all shapes), rotation, texture scale and direction, lighting, and strokes across
/// everything are random and independent of the class; mean colour says nothing about it.
///
/// A linear probe on the mean and deviation of each channel answers 10 % of 1,000 test pictures right, which is chance,
/// and on 128 mean-pooled random patch features 13 % (`tests/synthetic_is_hard.rs`).
///
/// Sample `i` is a pure function of `(seed, split, i)`; classes take turns, so that every prefix is balanced. Train and
/// test pictures come from different streams.
pub struct SyntheticImages {
    config: SyntheticConfig,
    split: Split,
    classes: Vec<String>,
}

/// Set in the ids of test pictures.
const TEST_BIT: u64 = 1 << 63;

impl SyntheticImages {
    /// A part of the data set; [`Split::All`] is the train part followed by the test part.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range.
    pub fn new(config: SyntheticConfig, split: Split) -> Result<Self, Error> {
        let setting = |setting, value: String, rule| Err(Error::Setting { setting, value, rule });
        if !(8..=1_024).contains(&config.size_px) {
            return setting("size_px", config.size_px.to_string(), "must be 8 to 1024");
        }
        for (name, images) in [("train_images", config.train_images), ("test_images", config.test_images)] {
            if !(1..=1 << 40).contains(&images) {
                return setting(name, images.to_string(), "must be 1 to 2^40");
            }
        }
        let classes = (0..Self::CLASSES).map(|class| {
            let (shape, inside) = Self::class(class);
            format!("{} of {}", shape.name(), inside.name())
        });
        Ok(Self { config, split, classes: classes.collect() })
    }

    const CLASSES: usize = Shape::ALL.len() * Pattern::ALL.len();

    fn class(class: usize) -> (Shape, Pattern) {
        (Shape::ALL[class / Pattern::ALL.len()], Pattern::ALL[class % Pattern::ALL.len()])
    }

    /// Whether an index is of the test part, and its place there or in the train part.
    fn locate(&self, index: usize) -> (bool, u64) {
        assert!(index < self.len(), "index {index} of a data set of {}", self.len());
        let train = self.config.train_images;
        match self.split {
            Split::Train => (false, index as u64),
            Split::Test => (true, index as u64),
            Split::All if index < train => (false, index as u64),
            Split::All => (true, (index - train) as u64),
        }
    }
}

impl Dataset for SyntheticImages {
    fn len(&self) -> usize {
        match self.split {
            Split::Train => self.config.train_images,
            Split::Test => self.config.test_images,
            Split::All => self.config.train_images + self.config.test_images,
        }
    }

    fn id(&self, index: usize) -> u64 {
        let (is_test, place) = self.locate(index);
        if is_test { place | TEST_BIT } else { place }
    }

    fn label(&self, index: usize) -> Option<u32> {
        let (_, place) = self.locate(index);
        u32::try_from(place % Self::CLASSES as u64).ok()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        let (is_test, place) = self.locate(index);
        format!("built-in picture {}#{place}", if is_test { Split::Test } else { Split::Train })
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        let (is_test, place) = self.locate(index);
        let (shape, inside) = Self::class((place % Self::CLASSES as u64) as usize);
        let mut rng = keyed_rng(Domain::Draw, self.config.seed, u64::from(is_test), place);
        let picture = Scene::draw(shape, inside, &mut rng).render(self.config.size_px, &mut rng)?;
        Ok(RawSample::Image(picture))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::ImageRgb;

    fn of(split: Split, config: SyntheticConfig) -> SyntheticImages {
        SyntheticImages::new(config, split).unwrap()
    }

    fn picture(set: &SyntheticImages, index: usize) -> ImageRgb {
        let RawSample::Image(picture) = set.load(index).unwrap() else { panic!("not a picture") };
        picture
    }

    #[test]
    fn a_picture_depends_on_seed_split_and_index_only() {
        let config = SyntheticConfig { train_images: 40, ..SyntheticConfig::default() };
        let (train, test, all) = (of(Split::Train, config), of(Split::Test, config), of(Split::All, config));
        assert_eq!(picture(&train, 3), picture(&of(Split::Train, config), 3));
        assert_ne!(picture(&train, 3), picture(&train, 13));
        assert_ne!(picture(&train, 3), picture(&test, 3));
        assert_ne!(picture(&train, 3), picture(&of(Split::Train, SyntheticConfig { seed: 1, ..config }), 3));
        for (index, set, inside) in [(3, &train, 3), (42, &test, 2)] {
            assert_eq!(picture(&all, index), picture(set, inside));
            assert_eq!((all.id(index), all.label(index)), (set.id(inside), set.label(inside)));
        }
        assert_ne!(train.id(3), test.id(3));
    }

    #[test]
    fn every_prefix_is_balanced_and_classes_have_names() {
        let set = of(Split::Train, SyntheticConfig::default());
        let labels: Vec<_> = (0..20).map(|index| set.label(index).unwrap()).collect();
        assert_eq!(labels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].repeat(2));
        assert_eq!(set.classes().len(), 10);
        assert_eq!(set.classes()[3], "square of checks");
    }

    #[test]
    fn sizes_are_checked() {
        for size_px in [7, 1_025] {
            let config = SyntheticConfig { size_px, ..SyntheticConfig::default() };
            assert!(matches!(SyntheticImages::new(config, Split::All), Err(Error::Setting { .. })));
        }
        let config = SyntheticConfig { size_px: 48, ..SyntheticConfig::default() };
        assert_eq!(picture(&of(Split::Test, config), 0).width(), 48);
        let config = SyntheticConfig { test_images: 0, ..SyntheticConfig::default() };
        assert!(SyntheticImages::new(config, Split::All).is_err());
    }

    /// Mean colour must not tell classes apart: of each class and channel within 5 standard errors of the overall mean.
    #[test]
    fn mean_colour_says_nothing_about_the_class() {
        let n = 2_000;
        let set = of(Split::Train, SyntheticConfig::default());
        let means: Vec<[f64; 3]> = (0..n)
            .map(|index| {
                let picture = picture(&set, index);
                let mut sums = [0.0; 3];
                for pixel in picture.as_bytes().chunks_exact(3) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += f64::from(*value) / 1_024.0;
                    }
                }
                sums
            })
            .collect();
        for channel in 0..3 {
            let values: Vec<f64> = means.iter().map(|mean| mean[channel]).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64;
            for class in 0..10 {
                let of_class: Vec<f64> = values.iter().skip(class).step_by(10).copied().collect();
                let difference = of_class.iter().sum::<f64>() / of_class.len() as f64 - mean;
                let bound = 5.0 * (variance / of_class.len() as f64).sqrt();
                assert!(difference.abs() < bound, "class {class}, channel {channel}: {difference}, {bound}");
            }
        }
    }
}

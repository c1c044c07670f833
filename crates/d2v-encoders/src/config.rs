//! Configurations of the front ends.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The front end of a run, one variant per modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EncoderConfig {
    /// Pictures as patches (spec 2.1).
    Image(ImageConfig),
}

/// How a patch knows where it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ImagePosition {
    /// One learned table of relative position biases, shared by all blocks (data2vec 1.0, spec 2.1).
    RelativeBias {},
    /// Fixed two-dimensional sines and cosines times `scale`, added to the patches (data2vec 2.0, spec 4.1).
    SinCos {
        /// Factor on the table, whose entries lie in `[-1, 1]`.
        scale: f64,
    },
}

/// Patches of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Height and width of the pictures in pixels; a multiple of `patch_size`.
    pub image_size: i64,
    /// Height and width of a patch in pixels.
    pub patch_size: i64,
    /// Colour channels.
    pub channels: i64,
    /// How positions enter.
    pub position: ImagePosition,
    /// Whether a learned class token stands in front.
    pub class_token: bool,
}

impl ImageConfig {
    /// ViT patches of 16 pixels on 224 with a relative bias and a class token (spec 2.1).
    pub fn vit16() -> ImageConfig {
        ImageConfig {
            image_size: 224,
            patch_size: 16,
            channels: 3,
            position: ImagePosition::RelativeBias {},
            class_token: true,
        }
    }

    /// Patches per side.
    pub fn side(&self) -> i64 {
        self.image_size / self.patch_size
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in
            [("image_size", self.image_size), ("patch_size", self.patch_size), ("channels", self.channels)]
        {
            if value < 1 {
                return Err(Error::Config { key, value: value.to_string(), rule: "must be at least 1" });
            }
        }
        if self.image_size % self.patch_size != 0 {
            let value = format!("{} with patches of {}", self.image_size, self.patch_size);
            return Err(Error::Config { key: "image_size", value, rule: "must be a multiple of patch_size" });
        }
        if let ImagePosition::SinCos { scale } = self.position
            && !scale.is_finite()
        {
            return Err(Error::Config {
                key: "position.scale",
                value: scale.to_string(),
                rule: "must be finite",
            });
        }
        Ok(())
    }
}

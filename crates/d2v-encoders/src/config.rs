//! Configurations of the front ends.

use crate::{AudioConfig, Error, Result};
use serde::{Deserialize, Serialize};

/// The front end of a run, one variant per modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EncoderConfig {
    /// Pictures as patches (spec 2.1).
    Image(ImageConfig),
    /// Sound as frames (spec 2.2).
    Audio(AudioConfig),
    /// Text as tokens (spec 2.3).
    Text(TextConfig),
}

impl EncoderConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        match self {
            EncoderConfig::Image(image) => image.validate(),
            EncoderConfig::Audio(audio) => audio.validate(),
            EncoderConfig::Text(text) => text.validate(),
        }
    }

    /// The modality's name in files.
    pub fn modality(&self) -> &'static str {
        match self {
            EncoderConfig::Image(_) => "image",
            EncoderConfig::Audio(_) => "audio",
            EncoderConfig::Text(_) => "text",
        }
    }

    /// Positions that an input of this length makes: samples of sound make frames, tokens themselves; a picture has the
    /// patches of the configured size, whatever the length.
    pub fn positions(&self, length: i64) -> i64 {
        match self {
            EncoderConfig::Image(image) => image.side() * image.side(),
            EncoderConfig::Audio(audio) => audio.frames(length),
            EncoderConfig::Text(_) => length,
        }
    }

    /// Tokens that stand for no position: the class token.
    pub fn extra_tokens(&self) -> i64 {
        match self {
            EncoderConfig::Image(image) => i64::from(image.class_token),
            EncoderConfig::Audio(_) | EncoderConfig::Text(_) => 0,
        }
    }

    /// Multiply-adds times two from an input of this length to features `width` wide, forward (spec 8).
    pub fn feature_flops(&self, length: i64, width: i64) -> u64 {
        match self {
            EncoderConfig::Image(image) => {
                (2 * self.positions(length) * image.channels * image.patch_size.pow(2) * width) as u64
            }
            EncoderConfig::Audio(audio) => audio.feature_flops(length, width),
            EncoderConfig::Text(_) => 0,
        }
    }

    /// Multiply-adds times two that features at so many positions need for their positions, forward (spec 8).
    pub fn positional_flops(&self, positions: i64, width: i64) -> u64 {
        match self {
            EncoderConfig::Audio(audio) => audio.positional_flops(positions, width),
            EncoderConfig::Image(_) | EncoderConfig::Text(_) => 0,
        }
    }
}

/// The ids of a tokenizer that mean something to the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIds {
    /// Number of ids, at least.
    pub vocabulary: i64,
    /// Padding.
    pub pad: i64,
    /// Shown at hidden positions.
    pub mask: i64,
    /// Ids that are no words (start, padding, end, unknown): never shown in place of a word.
    pub special: Vec<i64>,
}

/// Tokens of text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The most tokens of a sequence, special ones included.
    pub max_tokens: i64,
    /// Added to the variance in the norm; 1e-5 in the published models.
    #[serde(default = "text_eps")]
    pub norm_eps: f64,
    /// The ids; absent: those of the data's tokenizer, filled in when a run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<TokenIds>,
}

fn text_eps() -> f64 {
    1e-5
}

impl TextConfig {
    /// RoBERTa's ids: 50,265 of them, the last the mask; 512 tokens (spec 2.3).
    pub fn roberta() -> TextConfig {
        let ids = TokenIds { vocabulary: 50_265, pad: 1, mask: 50_264, special: vec![0, 1, 2, 3] };
        TextConfig { max_tokens: 512, norm_eps: text_eps(), ids: Some(ids) }
    }

    /// The ids.
    ///
    /// # Errors
    /// [`Error::Config`] where they are still absent.
    pub fn ids(&self) -> Result<&TokenIds> {
        let rule = "give { vocabulary, pad, mask, special }, or data whose tokenizer has them";
        self.ids.as_ref().ok_or_else(|| Error::Config { key: "ids", value: "missing".into(), rule })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        let at_least_one = |key, value: i64| match value {
            1.. => Ok(()),
            _ => Err(Error::Config { key, value: value.to_string(), rule: "must be at least 1" }),
        };
        at_least_one("max_tokens", self.max_tokens)?;
        if let Some(ids) = &self.ids {
            at_least_one("ids.vocabulary", ids.vocabulary)?;
            let named = [("ids.pad", ids.pad), ("ids.mask", ids.mask)];
            for (key, id) in named.into_iter().chain(ids.special.iter().map(|&id| ("ids.special", id))) {
                if !(0..ids.vocabulary).contains(&id) {
                    let value = format!("{id} with a vocabulary of {}", ids.vocabulary);
                    return Err(Error::Config { key, value, rule: "must lie within the vocabulary" });
                }
            }
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            let value = self.norm_eps.to_string();
            return Err(Error::Config { key: "norm_eps", value, rule: "must be above 0" });
        }
        Ok(())
    }
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

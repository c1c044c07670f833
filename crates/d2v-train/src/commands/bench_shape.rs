//! Shapes between and beyond the published sizes, for `d2v bench-step`: how does a step grow?

use crate::exit::Exit;
use crate::recipes::LearnerConfig;
use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use d2v_encoders::EncoderConfig;
use d2v_transformer::HeadConfig;

/// Width of a head in all published sizes.
const HEAD_WIDTH: i64 = 64;

/// What of a named size is replaced; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ClapArgs)]
pub struct ShapeArgs {
    /// Tokens per sample, the class token not counted: patches (a square number), frames, tokens of text.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=65_536), conflicts_with = "seconds")]
    pub tokens: Option<u32>,
    /// Width of the Transformer; the feed-forward layers are 4 times as wide.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub width: Option<u32>,
    /// Blocks of the Transformer; targets are made of all of them where the recipe wants more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub depth: Option<u32>,
    /// Attention heads, which divide the width; without it, as many of width 64 as a new width has room for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub heads: Option<u32>,
}

impl ShapeArgs {
    /// Replaces what was asked for.
    ///
    /// # Errors
    /// [`Exit::Usage`] if no network has this shape.
    pub fn apply(&self, config: &mut LearnerConfig) -> anyhow::Result<()> {
        self.apply_unmarked(config).context(Exit::Usage)
    }

    fn apply_unmarked(&self, config: &mut LearnerConfig) -> anyhow::Result<()> {
        if let Some(tokens) = self.tokens.map(i64::from) {
            set_tokens(config, tokens)?;
        }
        let transformer = &mut config.model.transformer;
        if let Some(width) = self.width.map(i64::from) {
            if self.heads.is_none() && width % HEAD_WIDTH != 0 {
                bail!(
                    "--width {width} is not a multiple of {HEAD_WIDTH}, the width of a head: give --heads too"
                );
            }
            (transformer.width, transformer.ffn_width) = (width, 4 * width);
            transformer.heads = width / HEAD_WIDTH;
            if let HeadConfig::Mlp { hidden } = &mut config.model.head {
                *hidden = 2 * width;
            }
        }
        if let Some(heads) = self.heads {
            transformer.heads = heads.into();
        }
        if let Some(depth) = self.depth {
            transformer.depth = depth as usize;
            config.objective.top_k = config.objective.top_k.min(transformer.depth);
        }
        Ok(transformer.validate()?)
    }
}

fn set_tokens(config: &mut LearnerConfig, tokens: i64) -> anyhow::Result<()> {
    match &mut config.model.encoder {
        EncoderConfig::Image(image) => {
            let side = tokens.isqrt();
            if side * side != tokens {
                let (below, above) = (side * side, (side + 1) * (side + 1));
                bail!(
                    "--tokens {tokens}: the patches of a picture make a square, such as {below} or {above}"
                );
            }
            image.image_size = side * image.patch_size;
        }
        EncoderConfig::Audio(audio) => {
            config.length = audio.receptive_field() + (tokens - 1) * audio.hop();
        }
        EncoderConfig::Text(text) => {
            text.max_tokens = text.max_tokens.max(tokens);
            config.length = tokens;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::Modality;
    use d2v_transformer::Size;

    #[test]
    fn the_network_gets_the_shape_that_was_asked_for() {
        for (modality, tokens) in [(Modality::Image, 36), (Modality::Audio, 77), (Modality::Text, 1000)] {
            let mut config = LearnerConfig::of(modality, Size::Tiny);
            let shape = ShapeArgs { tokens: Some(tokens), width: Some(128), depth: Some(3), heads: None };
            shape.apply(&mut config).unwrap();
            let transformer = &config.model.transformer;
            assert_eq!(config.positions(), tokens as usize, "{modality:?}");
            assert_eq!((transformer.width, transformer.ffn_width), (128, 512));
            assert_eq!((transformer.depth, transformer.heads, config.objective.top_k), (3, 2, 3));
        }
    }

    #[test]
    fn without_options_a_published_size_stays_as_it_is() {
        let mut config = LearnerConfig::text(Size::Base);
        ShapeArgs::default().apply(&mut config).unwrap();
        assert_eq!(config, LearnerConfig::text(Size::Base));
    }

    #[test]
    fn no_network_of_that_shape_is_usage() {
        let none = ShapeArgs::default();
        for (shape, part) in [
            (ShapeArgs { tokens: Some(200), ..none }, "196 or 225"),
            (ShapeArgs { width: Some(100), ..none }, "--heads"),
            (ShapeArgs { width: Some(100), heads: Some(3), ..none }, "width = 100 with 3 heads"),
        ] {
            let error = shape.apply(&mut LearnerConfig::image(Size::Tiny)).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::Usage);
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}

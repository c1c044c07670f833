//! The choice of a sampler, as it stands in a configuration file.

use serde::{Deserialize, Serialize};

use crate::{
    Blocks, BlocksConfig, BlocksV2, BlocksV2Config, MaskSampler, Random, RandomConfig, Result, Spans,
    SpansConfig, Tokens, TokensConfig,
};

/// A sampler and its settings. Settings that are not given have their published values; unknown ones are refused.
///
/// ```
/// use d2v_masking::{MaskConfig, RandomConfig};
///
/// let config: MaskConfig = toml::from_str("kind = 'random'\nmask_prob = 0.5")?;
/// assert_eq!(config, MaskConfig::Random(RandomConfig { mask_prob: 0.5, ..Default::default() }));
/// assert!(config.validate().is_ok());
/// assert!(toml::from_str::<MaskConfig>("kind = 'random'\nmask_porb = 0.5").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MaskConfig {
    /// `kind = "blocks"`: BEiT's blocks (images 1.0).
    Blocks(BlocksConfig),
    /// `kind = "spans"`: wav2vec 2.0's spans (speech 1.0, channels).
    Spans(SpansConfig),
    /// `kind = "tokens"`: BERT's and RoBERTa's tokens (text 1.0).
    Tokens(TokensConfig),
    /// `kind = "random"`: MAE's random positions (text 2.0).
    Random(RandomConfig),
    /// `kind = "blocks-v2"`: data2vec 2.0's blocks (images 2.0, speech 2.0).
    BlocksV2(BlocksV2Config),
}

impl MaskConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the first that is outside.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Blocks(config) => config.validate(),
            Self::Spans(config) => config.validate(),
            Self::Tokens(config) => config.validate(),
            Self::Random(config) => config.validate(),
            Self::BlocksV2(config) => config.validate(),
        }
    }

    /// The sampler with these settings.
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn build(&self) -> Result<Box<dyn MaskSampler>> {
        Ok(match self {
            Self::Blocks(config) => Box::new(Blocks::new(config.clone())?),
            Self::Spans(config) => Box::new(Spans::new(config.clone())?),
            Self::Tokens(config) => Box::new(Tokens::new(config.clone())?),
            Self::Random(config) => Box::new(Random::new(config.clone())?),
            Self::BlocksV2(config) => Box::new(BlocksV2::new(config.clone())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EqualCounts, MaskRefresh, Overlap, SpanLengths};

    #[track_caller]
    fn check(text: &str, expected: &MaskConfig) {
        let config: MaskConfig = toml::from_str(text).unwrap();
        assert_eq!(config, *expected);
        // What is saved with a run reads back as the same settings.
        let saved = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<MaskConfig>(&saved).unwrap(), *expected, "{saved}");
        config.build().unwrap();
    }

    #[track_caller]
    fn check_refused(text: &str, named: &str) {
        let error = toml::from_str::<MaskConfig>(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }

    #[test]
    fn a_kind_alone_has_the_published_settings() {
        check("kind = 'blocks'", &MaskConfig::Blocks(BlocksConfig::default()));
        check("kind = 'spans'", &MaskConfig::Spans(SpansConfig::default()));
        check("kind = 'tokens'", &MaskConfig::Tokens(TokensConfig::default()));
        check("kind = 'random'", &MaskConfig::Random(RandomConfig::default()));
        check("kind = 'blocks-v2'", &MaskConfig::BlocksV2(BlocksV2Config::default()));
    }

    #[test]
    fn nested_choices_read_as_tables() {
        check(
            "kind = 'spans'\nlengths = { kind = 'uniform', min = 3 }\noverlap = { kind = 'forbidden', min_space = 1 }\n\
             equal_counts = { kind = 'off' }",
            &MaskConfig::Spans(SpansConfig {
                lengths: SpanLengths::Uniform { min: 3 },
                overlap: Overlap::Forbidden { min_space: 1 },
                equal_counts: EqualCounts::Off {},
                ..Default::default()
            }),
        );
        check(
            "kind = 'tokens'\nspecial_tokens = 'maskable'\nrefresh = { kind = 'static', copies = 10 }",
            &MaskConfig::Tokens(TokensConfig {
                special_tokens: crate::SpecialTokens::Maskable,
                refresh: MaskRefresh::Static { copies: 10 },
                ..Default::default()
            }),
        );
    }

    #[test]
    fn unknown_names_are_refused() {
        check_refused("kind = 'block'", "block");
        check_refused("kind = 'blocks'\ntarget = 3", "target");
        check_refused("kind = 'spans'\noverlap = { kind = 'allowed', min_space = 1 }", "min_space");
        check_refused("kind = 'spans'\nstart_range = 'anywhere'", "anywhere");
    }
}

//! The sizes and choices of the Transformer.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockOrder {
    /// Norm before each branch, `x += f(norm(x))`; images in data2vec 1.0. A final norm follows the last block.
    PreNorm,
    /// Norm after each residual sum, `x = norm(x + f(x))`; speech, text and all of 2.0. No final norm.
    PostNorm,
}

/// Which of query, key and value have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QkvBias {
    /// All three.
    Full,
    /// Query and value only (BEiT): a key bias shifts all logits of a query alike and does nothing.
    QueryValue,
}

/// How weights start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitScheme {
    /// Normal with deviation 0.02 cut at ±0.02; attention output and second feed-forward weights of block `i`
    /// (from 1) divided by `sqrt(2 i)`. Images (spec 2.1).
    Beit,
    /// Normal with deviation 0.02. Speech, text (spec 2.2, 2.3).
    Bert,
    /// Xavier uniform, for small networks trained from scratch in minutes.
    Xavier,
    /// Weights and biases uniform within `1/sqrt(fan_in)`, libtorch's own (the prediction head of speech, spec 2.2).
    Uniform,
}

/// The sizes that the field has names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// 192 wide, 12 blocks, 3 heads.
    Tiny,
    /// 384 wide, 12 blocks, 6 heads.
    Small,
    /// 768 wide, 12 blocks, 12 heads (spec 2.1).
    Base,
    /// 1024 wide, 24 blocks, 16 heads (spec 2.1).
    Large,
}

/// Configuration of a [`Transformer`](crate::Transformer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Width `d` of the residual stream; a multiple of `heads`.
    pub width: i64,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads.
    pub heads: i64,
    /// Width of the feed-forward layer; 4 `width` in all published sizes.
    pub ffn_width: i64,
    /// Where the norms stand.
    pub order: BlockOrder,
    /// Whether a layer norm stands before the first block (speech: behind the positional convolutions).
    #[serde(default)]
    pub input_norm: bool,
    /// Dropout on what enters the first block, in `[0, 1)`.
    #[serde(default)]
    pub input_dropout: f64,
    /// Added to variances in norms: 1e-6 for images, 1e-5 for speech and text.
    pub norm_eps: f64,
    /// Which projections have a bias.
    pub qkv_bias: QkvBias,
    /// Start value of LayerScale (1e-4 Base, 1e-5 Large images); absent: no LayerScale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_scale: Option<f64>,
    /// Dropout on the output of both branches, in `[0, 1)`.
    #[serde(default)]
    pub dropout: f64,
    /// Dropout on attention weights, in `[0, 1)`.
    #[serde(default)]
    pub attention_dropout: f64,
    /// Dropout after the activation of the feed-forward layer, in `[0, 1)`.
    #[serde(default)]
    pub activation_dropout: f64,
    /// Drop path (stochastic depth per sample): the rate of the last block, rising linearly from 0 at the first.
    #[serde(default)]
    pub drop_path: f64,
    /// Chance that a whole block is left out in a training pass, in `[0, 1)`.
    #[serde(default)]
    pub layer_drop: f64,
    /// How weights start.
    pub init: InitScheme,
}

impl TransformerConfig {
    /// The Transformer of image data2vec 1.0 in one of the named sizes (spec 2.1), without any dropout.
    pub fn image(size: Size) -> TransformerConfig {
        let (width, depth, heads) = match size {
            Size::Tiny => (192, 12, 3),
            Size::Small => (384, 12, 6),
            Size::Base => (768, 12, 12),
            Size::Large => (1024, 24, 16),
        };
        TransformerConfig {
            width,
            depth,
            heads,
            ffn_width: 4 * width,
            order: BlockOrder::PreNorm,
            input_norm: false,
            input_dropout: 0.0,
            norm_eps: 1e-6,
            qkv_bias: QkvBias::QueryValue,
            layer_scale: Some(if size == Size::Large { 1e-5 } else { 1e-4 }),
            dropout: 0.0,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            drop_path: 0.0,
            layer_drop: 0.0,
            init: InitScheme::Beit,
        }
    }

    /// The Transformer of speech and text data2vec 1.0 in one of the named sizes (spec 2.2, 2.3), without any dropout:
    /// post-norm, all biases. Speech has an `input_norm`.
    pub fn sequence(size: Size) -> TransformerConfig {
        TransformerConfig {
            order: BlockOrder::PostNorm,
            norm_eps: 1e-5,
            qkv_bias: QkvBias::Full,
            layer_scale: None,
            init: InitScheme::Bert,
            ..TransformerConfig::image(size)
        }
    }

    /// Width of one head.
    pub fn head_width(&self) -> i64 {
        self.width / self.heads
    }

    /// Whether a training pass of a block draws from libtorch's generator (drop path and layer drop do not).
    pub(crate) fn draws(&self) -> bool {
        [self.dropout, self.attention_dropout, self.activation_dropout].into_iter().any(|rate| rate > 0.0)
    }

    /// Drop-path rate of block `index` (from 0).
    pub fn drop_path_of(&self, index: usize) -> f64 {
        if self.depth < 2 { self.drop_path } else { self.drop_path * index as f64 / (self.depth - 1) as f64 }
    }

    /// Multiply-adds times two of one block on `positions` tokens of one sample, forward:
    /// `4·2·l·d² + 2·2·l·d·f + 4·l²·d` (spec 8, with the feed-forward width `f` free).
    pub fn block_flops(&self, positions: u64) -> u64 {
        let (l, d, f) = (positions, self.width as u64, self.ffn_width as u64);
        8 * l * d * d + 4 * l * d * f + 4 * l * l * d
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        let positive = [("width", self.width), ("heads", self.heads), ("ffn_width", self.ffn_width)];
        for (key, value) in positive.into_iter().chain([("depth", self.depth as i64)]) {
            if value < 1 {
                return Err(Error::Config { key, value: value.to_string(), rule: "must be at least 1" });
            }
        }
        if self.width % self.heads != 0 {
            let value = format!("{} with {} heads", self.width, self.heads);
            return Err(Error::Config { key: "width", value, rule: "must be a multiple of heads" });
        }
        let rates = [
            ("input_dropout", self.input_dropout),
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
            ("drop_path", self.drop_path),
            ("layer_drop", self.layer_drop),
        ];
        for (key, value) in rates {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::Config { key, value: value.to_string(), rule: "must be in [0, 1)" });
            }
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            let value = self.norm_eps.to_string();
            return Err(Error::Config { key: "norm_eps", value, rule: "must be above 0" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_sizes_are_valid_and_base_costs_what_the_paper_says() {
        for size in [Size::Tiny, Size::Small, Size::Base, Size::Large] {
            TransformerConfig::image(size).validate().unwrap();
        }
        // Spec 8: vision Base, 197 tokens, 12 blocks: 35.1 GFLOP forward with the patch embedding's 0.23.
        let flops = 12 * TransformerConfig::image(Size::Base).block_flops(197);
        assert!((flops as f64 / 1e9 - 34.9).abs() < 0.05, "{flops}");
    }

    #[test]
    fn nonsense_is_named() {
        let check = |change: fn(&mut TransformerConfig), key: &str| {
            let mut config = TransformerConfig::image(Size::Tiny);
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        };
        check(|c| c.heads = 5, "width = 192 with 5 heads");
        check(|c| c.depth = 0, "depth = 0");
        check(|c| c.dropout = 1.0, "dropout = 1");
        check(|c| c.drop_path = f64::NAN, "drop_path = NaN");
        check(|c| c.norm_eps = 0.0, "norm_eps = 0");
    }

    #[test]
    fn drop_path_rises_linearly() {
        let config = TransformerConfig { drop_path: 0.22, ..TransformerConfig::image(Size::Base) };
        assert_eq!(config.drop_path_of(0), 0.0, "first");
        assert!((config.drop_path_of(11) - 0.22).abs() < 1e-15, "last");
        assert!((config.drop_path_of(1) - 0.02).abs() < 1e-15, "second");
    }
}

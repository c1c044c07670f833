//! Speech networks (spec 2.2, 7.2).

use super::{Shapes, TransformerDescription};

/// One convolution over the waveform: no bias, no padding; then a norm over channels and a GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Channels out.
    pub channels: usize,
    /// Width, in samples of its input.
    pub kernel: usize,
    /// Step, in samples of its input.
    pub stride: usize,
}

/// A speech network: convolutions over the waveform, positional convolutions, post-norm blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioDescription {
    /// Sizes of the Transformer.
    pub transformer: TransformerDescription,
    /// The convolutions over the waveform, which has one channel.
    pub convolutions: Vec<Convolution>,
    /// Number of positional convolutions (transformers calls it `num_conv_pos_embeddings`).
    pub positional_convs: usize,
    /// Width of each positional convolution, in frames.
    pub positional_kernel: usize,
    /// Groups of each positional convolution; divides the width.
    pub positional_groups: usize,
    /// Whether there is a mask vector; without one the network is an encoder only (spec 7.5.6).
    pub mask_token: bool,
    /// Dropout after the activation of the feed-forward layer, in `[0, 1)`.
    pub activation_dropout: f64,
    /// Dropout on the projected features, in `[0, 1)`.
    pub feature_dropout: f64,
    /// Chance that a whole block is left out in training, in `[0, 1)`.
    pub layer_drop: f64,
}

impl AudioDescription {
    pub(super) fn shapes(&self) -> Shapes {
        let width = self.transformer.width;
        let mut shapes = Shapes::new();
        let mut put = |name: String, shape: &[usize]| {
            shapes.insert(name, shape.to_vec());
        };
        let mut channels = 1;
        for (i, conv) in self.convolutions.iter().enumerate() {
            put(format!("front_end.conv_layers.{i}.conv.weight"), &[conv.channels, channels, conv.kernel]);
            channels = conv.channels;
            put(format!("front_end.conv_layers.{i}.norm.weight"), &[channels]);
            put(format!("front_end.conv_layers.{i}.norm.bias"), &[channels]);
        }
        put("front_end.norm.weight".into(), &[channels]);
        put("front_end.norm.bias".into(), &[channels]);
        put("front_end.proj.weight".into(), &[width, channels]);
        put("front_end.proj.bias".into(), &[width]);
        if self.mask_token {
            put("front_end.mask_token".into(), &[width]);
        }
        for i in 0..self.positional_convs {
            let kernel = [width, width / self.positional_groups, self.positional_kernel];
            put(format!("front_end.pos_conv.{i}.weight"), &kernel);
            put(format!("front_end.pos_conv.{i}.bias"), &[width]);
        }
        put("transformer.input_norm.weight".into(), &[width]);
        put("transformer.input_norm.bias".into(), &[width]);
        shapes
    }
}

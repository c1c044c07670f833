//! What a network is, as plain data: sizes, epsilons, rates, special ids. What one must know to build it.

mod audio;
mod text;
mod vision;

pub use audio::{AudioDescription, Convolution};
pub use text::TextDescription;
pub use vision::VisionDescription;

use crate::names::{Counts, Source};
use crate::{Error, Result, Tensors};
use std::collections::BTreeMap;

/// Shapes by our names.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// A network of one of the three modalities.
#[derive(Debug, Clone, PartialEq)]
pub enum Description {
    /// Images.
    Vision(VisionDescription),
    /// Speech.
    Audio(AudioDescription),
    /// Text.
    Text(TextDescription),
}

/// What the Transformers of all three have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerDescription {
    /// Width of the residual stream; a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Added to variances in every norm.
    pub norm_eps: f64,
    /// Dropout on the output of both branches (and on the embeddings of text), in `[0, 1)`.
    pub dropout: f64,
    /// Dropout on attention weights, in `[0, 1)`.
    pub attention_dropout: f64,
}

impl Description {
    /// The part that all modalities have.
    pub fn transformer(&self) -> &TransformerDescription {
        match self {
            Description::Vision(vision) => &vision.transformer,
            Description::Audio(audio) => &audio.transformer,
            Description::Text(text) => &text.transformer,
        }
    }

    /// How transformers names this network's tensors.
    pub fn transformers_names(&self) -> Source {
        match self {
            Description::Vision(vision) => {
                Source::TransformersVision { bias: vision.bias_table, final_norm: vision.final_norm }
            }
            Description::Audio(_) => Source::TransformersAudio,
            Description::Text(_) => Source::TransformersText,
        }
    }

    /// How many layers of each kind there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { layers: self.transformer().depth, ..Counts::default() };
        if let Description::Audio(audio) = self {
            counts.convs = audio.convolutions.len();
            counts.positional_convs = audio.positional_convs;
        }
        counts
    }

    /// The shape of every tensor of the network by our names, without a prediction head.
    pub fn shapes(&self) -> Shapes {
        let mut shapes = match self {
            Description::Vision(vision) => vision.shapes(),
            Description::Audio(audio) => audio.shapes(),
            Description::Text(text) => text.shapes(),
        };
        let TransformerDescription { width, depth, feed_forward, .. } = *self.transformer();
        for layer in 0..depth {
            let mut put = |name: &str, shape: &[usize]| {
                shapes.insert(format!("transformer.blocks.{layer}.{name}"), shape.to_vec());
            };
            for name in
                ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.proj.bias", "mlp.fc2.bias"]
            {
                put(name, &[width]);
            }
            put("attn.qkv.weight", &[3 * width, width]);
            put("attn.proj.weight", &[width, width]);
            put("mlp.fc1.weight", &[feed_forward, width]);
            put("mlp.fc1.bias", &[feed_forward]);
            put("mlp.fc2.weight", &[width, feed_forward]);
            match self {
                Description::Vision(_) => {
                    ["attn.q_bias", "attn.v_bias", "gamma_1", "gamma_2"]
                        .iter()
                        .for_each(|name| put(name, &[width]));
                }
                Description::Audio(_) | Description::Text(_) => put("attn.qkv.bias", &[3 * width]),
            }
        }
        shapes
    }

    /// Holds tensors under our names against [`shapes`](Description::shapes). Names are not judged here.
    ///
    /// # Errors
    /// [`Error::Shape`] for the first that differs.
    pub(crate) fn check_shapes(&self, tensors: &Tensors) -> Result<()> {
        let shapes = self.shapes();
        for (name, tensor) in tensors {
            match shapes.get(name) {
                Some(expected) if expected != tensor.shape() => {
                    let why = format!("its configuration asks for {expected:?}");
                    return Err(Error::Shape { name: name.clone(), found: tensor.shape().to_vec(), why });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

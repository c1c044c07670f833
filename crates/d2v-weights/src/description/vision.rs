//! Image networks (spec 2.1, 7.1).

use super::{Shapes, TransformerDescription};
use crate::names::BiasTable;

/// An image network: patches, a class token, relative position biases, pre-norm blocks with LayerScale.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionDescription {
    /// Sizes of the Transformer.
    pub transformer: TransformerDescription,
    /// Height and width of the images, in pixels; a multiple of `patch_size`.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub channels: usize,
    /// Where transformers keeps the table of position biases.
    pub bias_table: BiasTable,
    /// Whether there is a mask token; without one the network is an encoder only (spec 7.5.6).
    pub mask_token: bool,
    /// Whether a norm follows the last block. Fine-tuned with mean pooling there is none (spec 7.5.8).
    pub final_norm: bool,
    /// Drop path rate of the last block, in `[0, 1)`.
    pub drop_path: f64,
    /// Start value of LayerScale, above 0; means nothing once weights are loaded.
    pub layer_scale: f64,
}

impl VisionDescription {
    /// Patches along one side.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Rows of the table of position biases: all offsets between two patches, then class to patch, patch to class,
    /// class to class (spec 7.5.3).
    pub fn bias_rows(&self) -> usize {
        (2 * self.grid() - 1).pow(2) + 3
    }

    pub(super) fn shapes(&self) -> Shapes {
        let TransformerDescription { width, heads, .. } = self.transformer;
        let patch = [width, self.channels, self.patch_size, self.patch_size];
        let mut shapes = Shapes::from([
            ("front_end.patch_embed.proj.weight".into(), patch.to_vec()),
            ("front_end.patch_embed.proj.bias".into(), vec![width]),
            ("front_end.cls_token".into(), vec![1, 1, width]),
            ("front_end.rel_pos_bias.relative_position_bias_table".into(), vec![self.bias_rows(), heads]),
        ]);
        if self.mask_token {
            shapes.insert("front_end.mask_token".into(), vec![1, 1, width]);
        }
        if self.final_norm {
            shapes.insert("transformer.norm.weight".into(), vec![width]);
            shapes.insert("transformer.norm.bias".into(), vec![width]);
        }
        shapes
    }
}

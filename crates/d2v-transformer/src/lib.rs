//! The one Transformer encoder of data2vec, for every modality.
//!
//! [`Transformer`] maps [`Tokens`] to the last layer's output, or to any [`Intermediate`] of any range of blocks: the
//! tensors that a target can be made of, each named by where it is taken. It knows no modality, no mask and no
//! teacher. [`PredictionHead`] maps the student's output to predictions.
//!
//! Shapes are suffixes of names: `b` batch, `l` positions, `d` width, `h` heads, `m` chosen positions of the batch.

mod attention;
mod block;
mod config;
mod encoder;
mod error;
mod feed_forward;
mod head;
mod init;
mod layer_norm;
mod linear;
mod pass;
mod tokens;

pub use block::{Block, BlockOutput, Branch};
pub use config::{BlockOrder, InitScheme, QkvBias, Size, TransformerConfig};
pub use encoder::{Intermediate, Intermediates, Transformer, Wanted};
pub use error::Error;
pub use head::{HeadConfig, PredictionHead};
pub use layer_norm::{LayerNorm, normalize};
pub use linear::Linear;
pub use pass::Pass;
pub use tokens::Tokens;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The README's example, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Front ends: from raw input to the tokens that the shared Transformer takes.
//!
//! A modality is a [`ModalityEncoder`]; everything behind it is the same for all. [`ImageEncoder`] cuts pictures into
//! patches, [`AudioEncoder`] sound into frames, [`TextEncoder`] looks up tokens. Shapes are suffixes of names: `b` batch, `c` channels, `l` positions, `d` width, `h` heads.

mod audio;
mod audio_config;
mod config;
mod conv_stack;
mod error;
mod hide;
mod image;
mod log_mel;
mod modality;
mod positional_conv;
mod relative_bias;
mod sin_cos;
mod text;

pub use audio::AudioEncoder;
pub use audio_config::{AudioConfig, AudioFeatures, ConvLayer, PositionalConv};
pub use config::{EncoderConfig, ImageConfig, ImagePosition, TextConfig, TokenIds};
pub use error::Error;
pub use image::ImageEncoder;
pub use modality::{Hidden, ModalityEncoder};
pub use relative_bias::{RelativeBias, interpolate_table};
pub use sin_cos::sin_cos_2d;
pub use text::TextEncoder;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

//! Front ends: from raw input to the tokens that the shared Transformer takes.
//!
//! A modality is a [`ModalityEncoder`]; everything behind it is the same for all. [`ImageEncoder`] cuts pictures into
//! patches. Shapes are suffixes of names: `b` batch, `c` channels, `l` positions, `d` width, `h` heads.

mod config;
mod error;
mod image;
mod modality;
mod relative_bias;
mod sin_cos;

pub use config::{EncoderConfig, ImageConfig, ImagePosition};
pub use error::Error;
pub use image::ImageEncoder;
pub use modality::{Hidden, ModalityEncoder};
pub use relative_bias::{RelativeBias, interpolate_table};
pub use sin_cos::sin_cos_2d;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

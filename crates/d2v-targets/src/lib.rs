//! What the data2vec student must predict, how far off it is, and whether anything is still being learnt.
//!
//! [`TargetRule`] turns the teacher's layer tensors into targets (spec 1.3), [`LossConfig`] measures predictions
//! against them (spec 1.4), [`statistics`] show whether either is collapsing (spec 5). Targets and losses are f32 (f64
//! where a test needs it). This crate knows neither network nor modality: it is given tensors.
//!
//! Shapes are suffixes of names: `b` batch, `l` positions, `d` width, `m` hidden positions of the batch.

mod error;
mod layers;
mod loss;
mod normalization;
pub mod statistics;

pub use error::Error;
pub use layers::{TargetRule, TopLayerAverage};
pub use loss::{LossConfig, LossKind, LossScale};
pub use normalization::Normalization;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

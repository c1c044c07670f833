//! data2vec: the training step, the run around it, and the program `d2v`.
//!
//! Read [`step`] first: one file that reads as the paper.

mod error;
pub mod network;
pub mod optimizer;
pub mod step;

pub use error::Error;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

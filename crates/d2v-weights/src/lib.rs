//! Published data2vec weights, in and out: names and bytes of tensors, no libtorch.
//!
//! All files are taken to come from anywhere: nothing in them is run, sizes are checked before memory is taken, and what
//! is not understood is an error that names it.
//!
//! # Files
//! - [`tensors`](Tensors), `safetensors_file`: bytes with names, read and written.
//! - [`names`]: tables of what our tensors are called elsewhere.
//! - [`description`]: what a network is, as plain data; `config`: transformers' `config.json`, read and written.
//! - `hf_folder`: [`HfModel`], a whole folder of transformers.
//! - [`torch_file`]: `.pt` files, read without running anything in them; `fairseq`: the networks in them.

pub mod description;
pub mod names;
pub mod torch_file;

mod config;
mod error;
mod fairseq;
mod hf_folder;
mod safetensors_file;
mod tensors;
mod whole_file;

pub use config::{AudioProcessor, ImageProcessor};
pub use description::Description;
pub use error::{Error, Result};
pub use fairseq::{Checkpoint, Network};
pub use hf_folder::HfModel;
pub use safetensors_file::{read_safetensors, read_safetensors_folder, write_safetensors};
pub use tensors::{DType, Tensor, Tensors};

/// The README's example, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

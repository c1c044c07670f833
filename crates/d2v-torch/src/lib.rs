//! What tch lacks of libtorch, in safe Rust; the only crate of the workspace with `unsafe`.
//!
//! - [`params`]: parameters with unique, ordered names, initialised from (seed, name).
//! - [`adamw`]: one AdamW step over many tensors in one kernel, with a state that can be saved.
//! - [`foreach`]: interpolate, copy, scale, zero and measure many tensors in one call.
//! - [`autocast`]: low precision for a closure.
//! - [`checkpoint`]: activations made again in the backward pass instead of being kept.
//! - [`attention`]: attention from packed query, key and value, with a kernel for the CPU.
//! - [`sdpa`]: which kernel libtorch's own attention takes.
//! - [`fused`]: several operators as one that keeps less for the backward pass.
//! - [`cpu_memory`]: memory of large CPU tensors kept for reuse; figures of it.
//! - [`cuda`]: CUDA found at run time; memory figures.
//! - [`stream`], [`upload`]: streams and events of CUDA; copies from pinned memory beside the device's work.
//! - [`inference`]: forward passes without the books that gradients need.
//! - [`bytes`]: tensors as bytes and back, bit for bit.
//! - [`settings`]: process-wide switches of libtorch.
//!
//! C++ exceptions become [`Error::Libtorch`]; nothing here aborts. This crate knows nothing of data2vec.

pub mod adamw;
pub mod attention;
pub mod autocast;
pub mod bytes;
pub mod checkpoint;
pub mod cpu_memory;
pub mod cuda;
mod error;
mod ffi;
pub mod foreach;
pub mod fused;
pub mod inference;
pub mod params;
pub mod sdpa;
pub mod seed;
pub mod settings;
pub mod stream;
pub mod upload;

pub use error::Error;
pub use params::{Init, ParamStore, Parameters, Scope};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

//! What this machine can do, and what to do about each problem.
//!
//! [`facts`] looks and measures, [`advice`] judges; the two are apart so that the judgement can be tested.

pub mod advice;
pub mod facts;

pub use advice::{Finding, findings};
pub use facts::{CudaFacts, Facts, Gpu, Speed};

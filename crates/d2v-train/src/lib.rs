//! data2vec: the training step, the run around it, and the program `d2v`.
//!
//! Read [`step`] first: one file that reads as the paper.

pub mod batches;
pub mod config;
pub mod network;
pub mod observe;
pub mod optimizer;
pub mod run;
pub mod run_state;
pub mod sources;
pub mod step;

pub mod collapse;
pub mod schedule;
pub mod settings;

pub mod atomic_file;
pub mod checkpoint;
pub mod doctor;
pub mod evaluate;
pub mod flops;
pub mod gpu_check;
pub mod human_numbers;
mod input_fit;
pub mod left_out;
mod log_line;
pub mod machine;
pub mod mask_strip;
pub mod mask_text;
mod masked_batch;
pub mod masked_words;
pub mod memory_estimate;
pub mod metrics;
pub mod openmp;
pub mod picture;
pub mod progress;
pub mod recipes;
mod replay;
pub mod report;
pub mod sessions;
pub mod step_parts;
pub mod step_timing;
pub mod tensorboard;
pub mod unreadable;
pub mod waveform_picture;
pub mod weights;

pub mod commands;
mod error;
pub mod exit;
pub mod json_lines;
pub mod output_error;
pub mod signals;

pub use error::Error;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

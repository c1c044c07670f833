//! The data2vec training step, the run around it, and the program d2v

pub mod atomic_file;
pub mod human_numbers;
pub mod json_lines;
pub mod mask_text;
pub mod metrics;
pub mod output_error;
pub mod picture;
pub mod progress;
pub mod report;
pub mod sessions;
pub mod tensorboard;

//! The commands of `d2v`, one file each: arguments, and what they do.

pub mod bench_ceiling;
pub mod bench_shape;
pub mod bench_step;
pub mod doctor;
pub mod embed;
pub mod export;
pub mod gpu_check;
pub mod import;
pub mod inspect;
pub mod masks;
pub mod output;
pub mod pretrain;
pub mod probe;
pub mod recipe;
pub mod report;
pub mod tokenizer;

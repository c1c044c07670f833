//! The commands of `d2v`, one file each: arguments, and what they do.

pub mod masks;
pub mod pretrain;
pub mod recipe;

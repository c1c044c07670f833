//! What tensors are called elsewhere: tables of relations, each usable in both directions.
//!
//! A table is data (`vision`, `audio`, `text`); `relation` says what a row can express, `mapping` applies a
//! table in either direction, `source` finds out whose names a file uses. Our own names are on the left of each row.

mod audio;
mod mapping;
mod relation;
mod source;
mod text;
mod vision;

pub use mapping::{Mapped, from_ours, to_ours};
pub use relation::Counts;
pub use source::{BiasTable, Source};

//! The program `d2v` from outside, as a person or another tool calls it: real processes in real folders.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cli;
mod collapse_runs;
mod data;
mod masks;
mod memory;
mod probes;
mod resume;
mod tiny_run;
mod wav;
mod weights;

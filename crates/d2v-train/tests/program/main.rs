//! The program `d2v` from outside, as a person or another tool calls it: real processes in real folders.

mod cli;
mod collapse_runs;
mod data;
mod memory;
mod resume;
mod tiny_run;

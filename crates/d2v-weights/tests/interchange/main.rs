//! Weights of others, read and written back: transformers' folders, fairseq's checkpoints, corrupted files.
#![expect(clippy::unwrap_used, reason = "in a test, a failure of the machine is a failure of the test")]

mod checkpoints;
mod corrupted;
mod fixture;
mod folders;
mod forged;
mod pitfalls;
mod round_trip;
mod tables;

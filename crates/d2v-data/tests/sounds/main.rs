//! Sound files: how they are decoded, opened and labelled, and what damage does to them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod damage;
mod decoding;
mod opening;
#[path = "../memory/peak.rs"]
mod peak;
mod signal;
mod silence;

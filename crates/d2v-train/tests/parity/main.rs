//! Parity with the reference implementations, by the numbers under `tests/golden`.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod official;
mod port;
mod sequences;
mod support;
mod transformers;

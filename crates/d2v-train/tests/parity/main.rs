//! Parity with the reference implementations, by the numbers under `tests/golden`.

mod official;
mod port;
mod support;

//! Benchmarks of every part; see README.md.

//! The teacher's weights: a moving average of the student's.
//!
//! `teacher <- tau · teacher + (1 - tau) · student` after every optimizer update (spec 1.5, paper section 3.2). Pairs
//! are made by name and a mismatch is refused; which tensors are averaged, copied or left alone is an explicit list;
//! `tau` is a function of the update. This crate knows names and tensors, not layers.
//!
//! ```
//! use d2v_ema::{Ema, Rule};
//! use d2v_torch::Parameters;
//! use tch::Tensor;
//!
//! let student: Parameters = [("w".to_owned(), Tensor::from_slice(&[1f32]))].into_iter().collect();
//! let teacher: Parameters = [("w".to_owned(), Tensor::from_slice(&[0f32]))].into_iter().collect();
//! let ema = Ema::pair(&student, &teacher, &Rule::average_all())?;
//! ema.update(0.75)?;
//! assert_eq!(teacher.get("w").unwrap().double_value(&[0]), 0.25);
//! # Ok::<(), d2v_ema::Error>(())
//! ```

mod ema;
mod error;
mod rule;
mod tau;

pub use ema::Ema;
pub use error::Error;
pub use rule::{Fate, Rule};
pub use tau::Tau;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The README's example, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! How long things last and how fast the student learns: lengths in any unit, and the learning rate as a pure function of the
//! number of finished updates.
//!
//! A configuration says `warmup = { epochs = 10 }`; [`Length::to_steps`] turns it into steps once, when the size of a batch and of
//! the data set are known. After that a schedule needs nothing but the step: resuming needs no replay.
//!
//! ```
//! use d2v_train::schedule::{LearningRateConfig, Pace};
//!
//! let config: LearningRateConfig = toml::from_str(
//!     "kind = 'cosine'\npeak_lr = 2e-3\nfinal_lr = 1e-5\nwarmup = { epochs = 10 }",
//! )?;
//! let pace = Pace::new(2048, 1_281_167)?;
//! let learning_rate = config.resolve(800 * pace.steps_per_epoch(), pace)?;
//! assert_eq!(learning_rate.at(0), 0.0);
//! assert_eq!(learning_rate.at(6250), 2e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
#[cfg(test)]
mod golden;
mod learning_rate;
mod learning_rate_config;
mod length;

pub use error::ScheduleError;
pub use learning_rate::LearningRate;
pub use learning_rate_config::{DecayShape, LearningRateConfig, PeakAt};
pub use length::{Length, Pace};

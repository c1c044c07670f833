//! One part of the check: bounded in time, and alone in its failure.

use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What came of a part.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome<T> {
    /// It ran to its end.
    Done {
        /// Seconds it took.
        seconds: f64,
        /// What it found.
        result: T,
    },
    /// It broke off.
    Failed {
        /// Why.
        error: String,
    },
    /// It was not begun.
    Skipped {
        /// Why.
        why: String,
    },
}

impl<T> Outcome<T> {
    /// What was found, if the part ran.
    pub fn done(&self) -> Option<&T> {
        match self {
            Outcome::Done { result, .. } => Some(result),
            Outcome::Failed { .. } | Outcome::Skipped { .. } => None,
        }
    }

    /// Whether the part ran and `well` holds of what it found, or was left out on request (see [`Part::run`] for the
    /// other reason to skip).
    pub fn passed(&self, well: impl FnOnce(&T) -> bool) -> bool {
        match self {
            Outcome::Done { result, .. } => well(result),
            Outcome::Failed { .. } => false,
            Outcome::Skipped { why } => why != NO_TIME,
        }
    }
}

const NO_TIME: &str = "no time left; give more --minutes";

/// A part about to run.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// When it must be over; parts look at it between steps.
    pub deadline: Instant,
}

impl Part {
    /// Runs `body`, unless the deadline is over.
    ///
    /// tch panics where libtorch throws, out of memory for one: that too is a failure of this part only.
    pub fn run<T>(self, body: impl FnOnce(Instant) -> anyhow::Result<T>) -> Outcome<T> {
        let started = Instant::now();
        if started >= self.deadline {
            return Outcome::Skipped { why: NO_TIME.into() };
        }
        match catch_unwind(AssertUnwindSafe(|| body(self.deadline))) {
            Ok(Ok(result)) => Outcome::Done { seconds: started.elapsed().as_secs_f64(), result },
            Ok(Err(error)) => Outcome::Failed { error: format!("{error:#}") },
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                Outcome::Failed { error: text.unwrap_or_else(|| "a panic without words".into()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(body: impl FnOnce(Instant) -> anyhow::Result<u8>) -> Outcome<u8> {
        Part { deadline: Instant::now() + Duration::from_secs(60) }.run(body)
    }

    #[test]
    fn failures_stay_within_their_part() {
        assert_eq!(run(|_| Ok(7)).done(), Some(&7));
        assert!(matches!(run(|_| anyhow::bail!("no")), Outcome::Failed { error } if error == "no"));
        assert!(
            matches!(run(|_| panic!("out of {}", "memory")), Outcome::Failed { error } if error == "out of memory")
        );
    }

    #[test]
    fn a_part_without_time_has_not_passed() {
        let late = Part { deadline: Instant::now() }.run(|_| Ok(7));
        assert!(late.done().is_none() && !late.passed(|_| true), "{late:?}");
        let unwanted: Outcome<u8> = Outcome::Skipped { why: "not asked for".into() };
        assert!(unwanted.passed(|_| false));
    }
}

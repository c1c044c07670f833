//! `tau` as a function of the update.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Schedule of the teacher's decay `tau`: 0 copies the student, 1 freezes the teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tau {
    /// Always the same (images 1.0: 0.9998).
    Constant {
        /// The value, in `[0, 1]`.
        value: f64,
    },
    /// From `start` to `end` in a straight line over `steps` updates, then `end` (speech, text, 2.0; spec 1.5).
    Linear {
        /// Value before the first update.
        start: f64,
        /// Value from update `steps` on.
        end: f64,
        /// Length of the ramp in updates; absent: the length of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<u64>,
    },
    /// From `start` to `end` along half a cosine over `steps` updates, then `end` (BYOL, DINO).
    Cosine {
        /// Value before the first update.
        start: f64,
        /// Value from update `steps` on.
        end: f64,
        /// Length of the ramp in updates; absent: the length of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<u64>,
    },
}

impl Tau {
    /// Fills in the ramp's length where it is that of the run, and checks every value.
    ///
    /// # Errors
    /// If a value lies outside `[0, 1]`.
    pub fn resolve(self, run_steps: u64) -> Result<Tau> {
        let check = |key, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(Error::Tau { key, value, rule: "must be in [0, 1]" })
            }
        };
        match self {
            Tau::Constant { value } => check("teacher.tau.value", value).map(|()| self),
            Tau::Linear { start, end, steps } => {
                check("teacher.tau.start", start)?;
                check("teacher.tau.end", end)?;
                Ok(Tau::Linear { start, end, steps: Some(steps.unwrap_or(run_steps)) })
            }
            Tau::Cosine { start, end, steps } => {
                check("teacher.tau.start", start)?;
                check("teacher.tau.end", end)?;
                Ok(Tau::Cosine { start, end, steps: Some(steps.unwrap_or(run_steps)) })
            }
        }
    }

    /// The decay applied after update number `update`, 1 for the first.
    ///
    /// Linear: `end - (end - start) · (1 - update/steps)` while `update < steps`. A ramp without a length (see
    /// [`Tau::resolve`]) is at its end.
    pub fn at(&self, update: u64) -> f64 {
        let progress = |steps: Option<u64>| match steps {
            Some(steps) if update < steps => update as f64 / steps as f64,
            _ => 1.0,
        };
        match *self {
            Tau::Constant { value } => value,
            Tau::Linear { start, end, steps } => end - (end - start) * (1.0 - progress(steps)),
            Tau::Cosine { start, end, steps } => {
                end - (end - start) * 0.5 * (1.0 + (std::f64::consts::PI * progress(steps)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(steps: Option<u64>) -> Tau {
        Tau::Linear { start: 0.999, end: 0.9999, steps }
    }

    #[test]
    fn values_of_the_speech_schedule() {
        // Spec 1.5 with tau_0 0.999, tau_e 0.9999, tau_n 30,000.
        let check = |update, expected: f64| {
            let got = linear(Some(30_000)).at(update);
            assert!((got - expected).abs() < 1e-15, "{update}: {got}");
        };
        check(0, 0.999);
        check(10_000, 0.9993);
        check(15_000, 0.99945);
        check(29_999, 0.9999 - 0.0009 / 30_000.0);
        check(30_000, 0.9999);
        check(1_000_000, 0.9999);
    }

    #[test]
    fn cosine_starts_and_ends_flat() {
        let tau = Tau::Cosine { start: 0.9, end: 1.0, steps: Some(1000) };
        assert!((tau.at(0) - 0.9).abs() < 1e-15 && tau.at(1000) == 1.0, "ends");
        assert!((tau.at(500) - 0.95).abs() < 1e-12, "middle");
        assert!(tau.at(1) - tau.at(0) < 1e-6, "flat start");
    }

    #[test]
    fn a_ramp_without_length_takes_the_runs() {
        assert_eq!(linear(None).resolve(200).unwrap(), linear(Some(200)), "run length");
        assert_eq!(linear(Some(7)).resolve(200).unwrap(), linear(Some(7)), "its own");
    }

    #[test]
    fn values_outside_the_unit_interval_are_refused() {
        for value in [-0.1, 1.1, f64::NAN] {
            assert!(Tau::Constant { value }.resolve(1).is_err(), "{value}");
            assert!(Tau::Linear { start: 0.5, end: value, steps: None }.resolve(1).is_err(), "{value}");
        }
        assert!(Tau::Constant { value: 1.0 }.resolve(1).is_ok(), "a frozen teacher is a control experiment");
    }
}

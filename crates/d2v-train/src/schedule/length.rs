//! Lengths in steps, epochs, samples or as a part of the run, and the pace that turns them into steps.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::ScheduleError;

/// How long a run or a phase of it lasts, in the unit that suits.
///
/// In TOML a table with one key: `{ steps = 500 }`, `{ epochs = 10 }`, `{ samples = 1_000_000 }` or `{ fraction = 0.03 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Optimizer updates.
    Steps(u64),
    /// Passes over the data; part of one is allowed.
    Epochs(f64),
    /// Samples seen, rounded to whole steps.
    Samples(u64),
    /// Part of the whole run, 0 to 1; the run itself cannot be given so.
    Fraction(f64),
}

impl Length {
    /// The most steps that a length may come to: every whole number up to here is exact in an `f64`.
    pub const MAX_STEPS: u64 = 1 << 53;

    /// The length in whole steps: epochs and samples rounded to the nearest, fractions down, so that phases which make up the run
    /// never exceed it.
    ///
    /// `total_steps` is the length of the run, of which a fraction is taken; `None` where the length *is* that of the run. `what`
    /// names the setting in errors.
    ///
    /// Differs from the reference: where the product of a fraction lies a rounding error below a whole number, fairseq loses a
    /// step (0.29 of 100 gives 28 there, 29 here). No published schedule is affected.
    ///
    /// # Errors
    /// If the value is negative, not finite or above [`Length::MAX_STEPS`], or a fraction above 1 or of no whole.
    pub fn to_steps(
        self,
        what: &'static str,
        pace: Pace,
        total_steps: Option<u64>,
    ) -> Result<u64, ScheduleError> {
        let steps = match self {
            Self::Steps(steps) => steps as f64,
            Self::Epochs(epochs) => epochs * pace.steps_per_epoch() as f64,
            Self::Samples(samples) => samples as f64 / pace.samples_per_step() as f64,
            Self::Fraction(fraction) => {
                let Some(total_steps) = total_steps else {
                    let rule =
                        "the length of a run cannot be a part of itself; give steps, epochs or samples";
                    return Err(ScheduleError::Fraction { what, length: self, rule });
                };
                if fraction > 1.0 {
                    let rule = "a fraction of the run is at most 1";
                    return Err(ScheduleError::Fraction { what, length: self, rule });
                }
                const ABOVE_ROUNDING: f64 = 1.0 + 4.0 * f64::EPSILON;
                (fraction * total_steps as f64 * ABOVE_ROUNDING).floor()
            }
        };
        // The comparison is false for NaN as well.
        if !(0.0..=Self::MAX_STEPS as f64).contains(&steps) {
            return Err(ScheduleError::Length { what, length: self });
        }
        Ok(steps.round() as u64)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{{ steps = {steps} }}"),
            Self::Epochs(epochs) => write!(f, "{{ epochs = {epochs} }}"),
            Self::Samples(samples) => write!(f, "{{ samples = {samples} }}"),
            Self::Fraction(fraction) => write!(f, "{{ fraction = {fraction} }}"),
        }
    }
}

/// How many samples a step takes and how many steps an epoch has: what turns a [`Length`] into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    samples_per_step: NonZeroU64,
    steps_per_epoch: NonZeroU64,
}

impl Pace {
    /// The pace of a run whose every update takes `samples_per_step` samples (all micro-batches together) of a data set of
    /// `samples_per_epoch`.
    ///
    /// An incomplete last batch is dropped, as the reference does: 1,281,167 pictures at 2,048 per step are 625 steps per epoch.
    ///
    /// # Errors
    /// If a step takes no samples, or more than an epoch has.
    pub fn new(samples_per_step: u64, samples_per_epoch: u64) -> Result<Self, ScheduleError> {
        let error = ScheduleError::Pace { samples_per_step, samples_per_epoch };
        let samples_per_step = NonZeroU64::new(samples_per_step).ok_or(error.clone())?;
        let steps_per_epoch = NonZeroU64::new(samples_per_epoch / samples_per_step).ok_or(error)?;
        Ok(Self { samples_per_step, steps_per_epoch })
    }

    /// The pace of a run on `batches` batches an epoch of different sizes, `accumulate` of them to an update: the mean
    /// number of samples, rounded.
    ///
    /// # Errors
    /// If an epoch has no update, or an update no sample.
    pub fn of_batches(batches: u64, accumulate: u64, samples_per_epoch: u64) -> Result<Self, ScheduleError> {
        let steps = batches.checked_div(accumulate).unwrap_or(0);
        let samples_per_step =
            (samples_per_epoch * accumulate + batches / 2).checked_div(batches).unwrap_or(0);
        let error = ScheduleError::Pace { samples_per_step, samples_per_epoch };
        let samples_per_step = NonZeroU64::new(samples_per_step).ok_or(error.clone())?;
        Ok(Self { samples_per_step, steps_per_epoch: NonZeroU64::new(steps).ok_or(error)? })
    }

    /// Samples that one update takes, over all micro-batches.
    pub fn samples_per_step(self) -> u64 {
        self.samples_per_step.get()
    }

    /// Whole steps in one pass over the data.
    pub fn steps_per_epoch(self) -> u64 {
        self.steps_per_epoch.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn imagenet() -> Pace {
        Pace::new(2048, 1_281_167).unwrap()
    }

    #[test]
    fn batches_of_different_sizes_have_a_mean_pace() {
        let pace = Pace::of_batches(10, 3, 101).unwrap();
        assert_eq!((pace.steps_per_epoch(), pace.samples_per_step()), (3, 30));
        assert!(
            Pace::of_batches(2, 3, 100).is_err() && Pace::of_batches(0, 1, 0).is_err(),
            "no whole update"
        );
    }

    #[track_caller]
    fn check(toml: &str, expected: Result<u64, &str>) {
        #[derive(Deserialize)]
        struct Config {
            warmup: Length,
        }
        let config: Config = toml::from_str(&format!("warmup = {toml}")).unwrap();
        let steps = config.warmup.to_steps("warmup", imagenet(), Some(10_000));
        match (steps, expected) {
            (Ok(steps), Ok(expected)) => assert_eq!(steps, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (steps, _) => panic!("{toml}: got {steps:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn every_unit_resolves_to_steps() {
        check("{ steps = 500 }", Ok(500));
        check("{ epochs = 10 }", Ok(6250));
        check("{ epochs = 0.5 }", Ok(313));
        check("{ samples = 4096 }", Ok(2));
        check("{ samples = 1023 }", Ok(0));
        check("{ samples = 1024 }", Ok(1));
        check("{ fraction = 0.29 }", Ok(2900));
        check("{ fraction = 0.00019 }", Ok(1));
        check("{ fraction = 1 }", Ok(10_000));
    }

    #[test]
    fn nonsense_is_refused() {
        check("{ epochs = -1 }", Err("warmup = { epochs = -1 }: a length is a finite number"));
        check("{ epochs = nan }", Err("NaN"));
        check("{ epochs = inf }", Err("inf"));
        check("{ epochs = 1e300 }", Err("from 0 to 9007199254740992"));
        check("{ fraction = 1.5 }", Err("at most 1"));
        let whole = Length::Fraction(0.5).to_steps("run", imagenet(), None).unwrap_err();
        assert!(whole.to_string().contains("a part of itself"), "{whole}");
    }

    #[test]
    fn one_unit_at_a_time() {
        for text in
            ["x = {}", "x = { steps = 1, epochs = 2 }", "x = { step = 1 }", "x = { steps = -1 }", "x = 5"]
        {
            let parsed: Result<std::collections::BTreeMap<String, Length>, _> = toml::from_str(text);
            assert!(parsed.is_err(), "{text} gave {parsed:?}");
        }
    }

    #[test]
    fn a_step_takes_between_one_sample_and_an_epoch() {
        assert!(Pace::new(0, 10).is_err());
        assert!(Pace::new(11, 10).is_err());
        assert_eq!(Pace::new(10, 10).unwrap().steps_per_epoch(), 1);
        assert_eq!(Pace::new(10, 29).unwrap().steps_per_epoch(), 2);
    }

    proptest! {
        #[test]
        fn parts_of_a_run_fit_into_it(part in 0.0..=1.0_f64, total in 0_u64..1_000_000_000) {
            let steps = |part| Length::Fraction(part).to_steps("part", imagenet(), Some(total)).unwrap();
            prop_assert!(steps(part) + steps(1.0 - part) <= total);
            prop_assert!(steps(part) + steps(1.0 - part) + 1 >= total);
        }

        #[test]
        fn lengths_in_different_units_agree(batch in 1_u64..5000, epochs in 0_u64..2000, steps_per_epoch in 1_u64..5000) {
            let pace = Pace::new(batch, batch * steps_per_epoch).unwrap();
            let steps = epochs * steps_per_epoch;
            for length in [
                Length::Steps(steps),
                Length::Epochs(epochs as f64),
                Length::Samples(steps * batch),
            ] {
                prop_assert_eq!(length.to_steps("length", pace, None).unwrap(), steps);
            }
        }
    }
}

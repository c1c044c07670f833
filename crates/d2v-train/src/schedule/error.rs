//! What can be wrong with a length or a schedule.

use super::Length;

/// A length or schedule that cannot be used; each message names the value, the rule and the way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// A length is negative, not a number, or beyond what a run can count.
    #[error("{what} = {length}: a length is a finite number from 0 to {max}", max = Length::MAX_STEPS)]
    Length {
        /// Which setting.
        what: &'static str,
        /// The length as configured.
        length: Length,
    },
    /// A fraction above 1, or of something that has no whole.
    #[error("{what} = {length}: {rule}")]
    Fraction {
        /// Which setting.
        what: &'static str,
        /// The length as configured.
        length: Length,
        /// The rule broken, and the way out.
        rule: &'static str,
    },
    /// An update would take no sample, or more than an epoch has.
    #[error(
        "{samples_per_step} samples per step cannot be drawn from {samples_per_epoch} per epoch: a step takes at least 1 sample and \
         at most one epoch; change the batch, or use more data"
    )]
    Pace {
        /// Samples that one update takes, over all micro-batches.
        samples_per_step: u64,
        /// Samples in the data set.
        samples_per_epoch: u64,
    },
    /// A rate, scale or power outside its range.
    #[error("{what} = {value}: {rule}")]
    Rate {
        /// Which setting.
        what: &'static str,
        /// The value as configured.
        value: f64,
        /// The range that it must lie in.
        rule: &'static str,
    },
    /// The run has no step at all.
    #[error("the run has 0 steps: a schedule needs at least 1; set a longer run")]
    NoSteps,
    /// Warm-up, or warm-up and hold together, are longer than the run.
    #[error(
        "{phases} takes {steps} steps, but the run has only {total_steps}: shorten it, or set a longer run (a length may also be \
         given as a part of the run: {{ fraction = 0.05 }})"
    )]
    LongerThanRun {
        /// The phases that do not fit.
        phases: &'static str,
        /// Their length in steps.
        steps: u64,
        /// The length of the run in steps.
        total_steps: u64,
    },
}

//! How sure a number is: intervals for one accuracy, for the difference of two, and for a mean of repetitions.
//!
//! Accuracies are shares from 0 to 1. Every interval covers 95 %.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The 97.5 % point of the standard normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// A range that covers the true value in 95 % of repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval for `successes` out of `trials` (E. B. Wilson, JASA 22, 1927):
///
/// ```text
/// ( p + z²/2n ± z √( p(1−p)/n + z²/4n² ) ) / ( 1 + z²/n )
/// ```
///
/// It says what other test samples of the same kind would give, not what another training run would. Without trials
/// nothing is known: `[0, 1]`.
pub fn wilson(successes: usize, trials: usize) -> Interval {
    if trials == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let z2_n = Z_95 * Z_95 / n;
    let centre = p + z2_n / 2.0;
    let half_width = Z_95 * (p * (1.0 - p) / n + z2_n / (4.0 * n)).sqrt();
    let [low, high] =
        [centre - half_width, centre + half_width].map(|end| (end / (1.0 + z2_n)).clamp(0.0, 1.0));
    Interval { low, high }
}

/// The standard error √(p(1−p)/n) of a share of `successes` in `trials`; 0 without trials.
pub fn binomial_error(successes: usize, trials: usize) -> f64 {
    let n = trials.max(1) as f64;
    let p = successes as f64 / n;
    (p * (1.0 - p) / n).sqrt()
}

/// A difference of two numbers and its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// First minus second.
    pub difference: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Its 95 % interval.
    pub interval: Interval,
}

/// The difference of two accuracies on the same test items, `None` where the lists differ in length or are empty.
///
/// With n items, of which b only the first and c only the second classified correctly, the difference is (b − c)/n
/// and its standard error √(b + c − (b − c)²/n) / n. The interval adds half an item to b and to c and one item more
/// that both got the same way (Agresti and Min, Statistics in Medicine 24, 2005), which keeps its coverage when few
/// items differ:
///
/// ```text
/// (b − c)/(n + 2)  ±  z √( (b + c + 1) − (b − c)²/(n + 2) ) / (n + 2)
/// ```
///
/// Pairing matters: two probes mostly fail on the same hard items, and treating them as independent would make the
/// interval too wide.
pub fn paired_items(first: &[bool], second: &[bool]) -> Option<Difference> {
    if first.len() != second.len() || first.is_empty() {
        return None;
    }
    let pairs = || first.iter().zip(second);
    let b = pairs().filter(|(a, b)| **a && !**b).count() as f64;
    let c = pairs().filter(|(a, b)| !**a && **b).count() as f64;
    let n = first.len() as f64;
    let standard_error = (b + c - (b - c).powi(2) / n).max(0.0).sqrt() / n;
    let centre = (b - c) / (n + 2.0);
    let half_width = Z_95 * (b + c + 1.0 - (b - c).powi(2) / (n + 2.0)).sqrt() / (n + 2.0);
    let interval = Interval { low: (centre - half_width).max(-1.0), high: (centre + half_width).min(1.0) };
    Some(Difference { difference: (b - c) / n, standard_error, interval })
}

/// The mean of several repetitions (draws, seeds) and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// √(Σ(x − mean)² / (n (n − 1))); `None` for a single repetition, of which nothing is known.
    pub standard_error: Option<f64>,
    /// mean ± t · standard error, with Student's t of n − 1 degrees of freedom; `None` for a single repetition.
    pub interval: Option<Interval>,
    /// Number of repetitions.
    pub repetitions: usize,
}

impl Mean {
    /// The mean of `values`; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let repetitions = values.len();
        if repetitions == 0 {
            return None;
        }
        let n = repetitions as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let standard_error = (repetitions > 1).then(|| (squares / (n * (n - 1.0))).sqrt());
        let interval = standard_error.map(|error| {
            let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("at least one degree of freedom");
            let half_width = student.inverse_cdf(0.975) * error;
            Interval { low: mean - half_width, high: mean + half_width }
        });
        Some(Self { mean, standard_error, interval, repetitions })
    }
}

/// The difference of two lists of repetitions that belong together one by one (the same draw, the same seed):
/// the [`Mean`] of the differences. `None` where the lists differ in length or hold fewer than two.
pub fn paired_repetitions(first: &[f64], second: &[f64]) -> Option<Difference> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let mean = Mean::of(&differences)?;
    Some(Difference { difference: mean.mean, standard_error: mean.standard_error?, interval: mean.interval? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expected ends to the digits given.
    fn check(got: Interval, low: f64, high: f64) {
        assert!(
            (got.low - low).abs() < 5e-5 && (got.high - high).abs() < 5e-5,
            "{got:?}, not [{low}, {high}]"
        );
    }

    #[test]
    fn wilson_gives_the_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        check(wilson(81, 263), 0.2553, 0.3662);
        check(wilson(15, 148), 0.0624, 0.1605);
        check(wilson(0, 20), 0.0, 0.1611);
        check(wilson(1, 29), 0.0061, 0.1718);
        check(wilson(20, 20), 1.0 - 0.1611, 1.0);
        check(wilson(0, 0), 0.0, 1.0);
    }

    #[test]
    fn a_paired_difference_by_hand() {
        // b = 3, c = 1, n = 10.
        let first = [true, true, true, false, true, true, true, false, false, true];
        let second = [false, false, false, true, true, true, true, false, false, true];
        let got = paired_items(&first, &second).expect("the same length");
        assert!((got.difference - 0.2).abs() < 1e-15);
        // √(4 − 4/10) / 10
        assert!((got.standard_error - 0.189_736_66).abs() < 1e-8);
        // 2/12 ± 1.96 · √(5 − 4/12) / 12
        check(got.interval, 2.0 / 12.0 - 0.352_834, 2.0 / 12.0 + 0.352_834);
        assert_eq!(paired_items(&first, &second[1..]), None);
        assert_eq!(paired_items(&[], &[]), None);
    }

    #[test]
    fn equal_answers_still_leave_doubt() {
        let got = paired_items(&[true; 50], &[true; 50]).expect("the same length");
        assert_eq!(got.difference, 0.0);
        assert!(got.interval.low < -0.03 && got.interval.high > 0.03);
    }

    #[test]
    fn a_mean_of_three_by_hand() {
        let mean = Mean::of(&[1.0, 2.0, 6.0]).expect("three values");
        assert_eq!(mean.mean, 3.0);
        // √(14 / 6), and 4.302 653 = t(0.975; 2)
        let error = mean.standard_error.expect("more than one");
        assert!((error - (14.0f64 / 6.0).sqrt()).abs() < 1e-15);
        check(mean.interval.expect("more than one"), 3.0 - 4.302_653 * error, 3.0 + 4.302_653 * error);
        let single = Mean::of(&[1.0]).expect("one value");
        assert_eq!((single.standard_error, single.interval), (None, None));
        assert_eq!(Mean::of(&[]), None);
    }

    #[test]
    fn pairing_takes_out_what_is_common() {
        let got = paired_repetitions(&[0.5, 0.9, 0.7], &[0.4, 0.8, 0.6]).expect("three pairs");
        assert!((got.difference - 0.1).abs() < 1e-15 && got.standard_error < 1e-15);
        assert_eq!(paired_repetitions(&[1.0], &[0.0]), None);
    }

    proptest! {
        #[test]
        fn intervals_hold_their_estimate(pairs in prop::collection::vec(any::<(bool, bool)>(), 1..200)) {
            let (first, second): (Vec<bool>, Vec<bool>) = pairs.into_iter().unzip();
            let right = first.iter().filter(|x| **x).count();
            let p = right as f64 / first.len() as f64;
            let Interval { low, high } = wilson(right, first.len());
            prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            prop_assert!(low - 1e-12 <= p && p <= high + 1e-12);
            let forth = paired_items(&first, &second).expect("same length");
            let back = paired_items(&second, &first).expect("same length");
            prop_assert!(forth.interval.low <= forth.difference && forth.difference <= forth.interval.high);
            prop_assert!((forth.interval.low + back.interval.high).abs() < 1e-12);
        }
    }
}

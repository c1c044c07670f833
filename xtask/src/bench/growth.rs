//! Exponents: how a quantity grows with another, and whether it grows faster than the model of it says.

use serde::Serialize;

/// By how much an exponent may exceed the model's.
///
/// Over three points that double from one to the next, times that are off by 10 % each give the exponent a standard
/// error of 0.1 / (ln 2 · √2) = 0.10; this is three of them. An exponent one too high, the usual mistake of a step
/// that grows too fast, is three times this.
pub(crate) const TOLERANCE: f64 = 0.3;

/// The exponent `p` of `y = c · x^p` through points of positive numbers, by least squares on logarithms; `None`
/// where fewer than two different `x` leave it open or a number has no logarithm.
pub(crate) fn exponent(points: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| logs.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |product: &dyn Fn(f64, f64) -> f64| {
        logs.iter().map(|&(x, y)| product(x - mean_x, y - mean_y)).sum::<f64>()
    };
    let slope = sum(&|x, y| x * y) / sum(&|x, _| x * x);
    slope.is_finite().then_some(slope)
}

/// What one point of an axis cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// Tokens, samples, width or blocks.
    pub(crate) value: u32,
    /// 10^9 operations of a step, as counted.
    pub(crate) gflop: f64,
    /// Shortest step: whatever else the machine did made the others longer.
    pub(crate) ms: f64,
    /// Peak memory beyond what the process held before there was a network.
    pub(crate) mib: f64,
}

/// How a step grows along one axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// Of the counted operations.
    pub(crate) model: Option<f64>,
    /// Of the time.
    pub(crate) time: Option<f64>,
    /// Of the memory.
    pub(crate) memory: Option<f64>,
}

impl Growth {
    /// The exponents of these points but the first: the smallest is mostly fixed costs, which hide how the rest grows.
    pub(crate) fn of(costs: &[Cost]) -> Self {
        let costs = costs.get(1..).unwrap_or_default();
        let fit = |quantity: fn(&Cost) -> f64| {
            exponent(costs.iter().map(|cost| (f64::from(cost.value), quantity(cost))))
        };
        Self { model: fit(|cost| cost.gflop), time: fit(|cost| cost.ms), memory: fit(|cost| cost.mib) }
    }

    /// What grows faster than the counted operations, beyond the tolerance.
    pub(crate) fn faster_than_model(&self) -> Vec<&'static str> {
        let Some(model) = self.model else { return Vec::new() };
        let beyond = |exponent: Option<f64>| exponent.is_some_and(|exponent| exponent > model + TOLERANCE);
        let quantities = [("time", self.time), ("memory", self.memory)];
        quantities.into_iter().filter(|&(_, exponent)| beyond(exponent)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four points that double, with what `f` makes of each.
    fn costs(f: impl Fn(f64) -> (f64, f64, f64)) -> Vec<Cost> {
        let cost = |value: u32| {
            let (gflop, ms, mib) = f(f64::from(value));
            Cost { value, gflop, ms, mib }
        };
        [64, 128, 256, 512].map(cost).to_vec()
    }

    #[test]
    fn powers_are_found() {
        for power in [0.0, 0.5, 1.0, 2.0] {
            let found =
                exponent([1.0, 2.0, 5.0, 9.0].map(|x: f64| (x, 3.0 * x.powf(power))).into_iter()).unwrap();
            assert!((found - power).abs() < 1e-12, "{found} instead of {power}");
        }
        assert_eq!(exponent([(2.0, 3.0)].into_iter()), None, "one point");
        assert_eq!(exponent([(2.0, 3.0), (2.0, 5.0)].into_iter()), None, "one place");
        assert_eq!(exponent([(2.0, 3.0), (4.0, 0.0)].into_iter()), None, "no logarithm");
    }

    #[test]
    fn what_grows_as_counted_is_not_flagged() {
        let as_counted = costs(|x| (x * x, 5.0 * x * x, x));
        assert_eq!(Growth::of(&as_counted).faster_than_model(), [""; 0]);
        // A tenth off in the worst way: the ends turned against the line.
        let mut noisy = as_counted;
        for (cost, error) in noisy.iter_mut().zip([1.0, 0.9, 1.0, 1.1]) {
            cost.ms *= error;
        }
        assert_eq!(Growth::of(&noisy).faster_than_model(), [""; 0], "{:?}", Growth::of(&noisy));
    }

    #[test]
    fn what_grows_faster_is_named() {
        let growth = Growth::of(&costs(|x| (x, x * x, 0.1 * x)));
        assert_eq!(growth.faster_than_model(), ["time"]);
        let growth = Growth::of(&costs(|x| (x, x, x.powf(1.5))));
        assert_eq!(growth.faster_than_model(), ["memory"]);
        // Linear at first, the square only at the end; and a fixed cost that hides it in the smallest point.
        let growth = Growth::of(&costs(|x| (x, 100.0 + x + x * x / 128.0, x)));
        assert_eq!(growth.faster_than_model(), ["time"]);
    }
}

//! The minimum of a smooth convex function by L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5).
//!
//! Written here and not taken from `argmin`: that crate asks for value and gradient separately, which doubles the
//! matrix products that this is all about, and it depends on `paste`, which is no longer maintained.
//!
//! Convexity buys simplicity: for any two points the step and the change of the gradient have a product of at least
//! 0, so a backtracking line search is enough and a search for the Wolfe conditions is not needed.

use std::collections::VecDeque;

use tch::{Kind, Tensor};

/// Pairs of step and gradient change that are remembered. More pairs save iterations on correlated features; twenty
/// cost less than one pass over 10,000 samples.
const MEMORY: usize = 20;

/// Share of the decrease promised by the slope that a step must deliver (the usual constant of Armijo's rule).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// By how much rounding may lift a value, as a share of it: sums of a few thousand terms.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// Halvings of a step after which rounding is taken to hide any further decrease.
const MAX_HALVINGS: usize = 40;

/// Steps in a row that leave the value as it is, after which rounding is taken to hide any further decrease. Some are
/// allowed because the gradient still shrinks when the value has run out of digits.
const MAX_FLAT_STEPS: usize = 20;

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Done when no element of the gradient is larger than this.
    pub gradient_tolerance: f64,
    /// Given up after this many steps.
    pub max_iterations: usize,
}

/// Where the search ended.
#[derive(Debug)]
pub struct Minimum {
    /// The best point, of the shape of the start.
    pub point: Tensor,
    /// The value there.
    pub value: f64,
    /// The largest absolute element of the gradient there.
    pub gradient_max: f64,
    /// Steps taken.
    pub iterations: usize,
    /// Whether `gradient_max` met the tolerance.
    pub converged: bool,
}

/// Minimises `objective`, which returns its value and its gradient at a point; all f64.
///
/// The function must be convex and bounded below. Deterministic: the same start takes the same steps.
pub fn minimise(start: &Tensor, stop: Stop, objective: impl Fn(&Tensor) -> (f64, Tensor)) -> Minimum {
    let mut point = start.copy();
    let (mut value, mut gradient) = objective(&point);
    let mut memory = Memory::default();
    let mut flat_steps = 0;
    for iterations in 0..=stop.max_iterations {
        let gradient_max = gradient.abs().max().double_value(&[]);
        let converged = gradient_max <= stop.gradient_tolerance;
        if converged || flat_steps == MAX_FLAT_STEPS || iterations == stop.max_iterations {
            return Minimum { point, value, gradient_max, iterations, converged };
        }
        let mut direction = memory.direction(&gradient);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 {
            // Only rounding can turn the direction uphill; what was remembered is of no more use.
            memory = Memory::default();
            direction = gradient.neg();
            slope = -dot(&gradient, &gradient);
        }
        let full_step = if memory.pairs.is_empty() { (-slope).sqrt().recip().min(1.0) } else { 1.0 };
        let accepted = (0..MAX_HALVINGS).find_map(|halvings| {
            let step = full_step * 0.5f64.powi(halvings as i32);
            let moved = &direction * step;
            let next = &point + &moved;
            let (next_value, next_gradient) = objective(&next);
            let enough = next_value <= value + SUFFICIENT_DECREASE * step * slope;
            // Near the minimum the value has run out of digits before the gradient has: there the slope decides
            // (the approximate condition of Hager and Zhang, 2005).
            let level = next_value <= value + ROUNDING * value.abs()
                && dot(&next_gradient, &direction).abs() <= -slope * (1.0 - SUFFICIENT_DECREASE);
            (enough || level).then_some((next, moved, next_value, next_gradient))
        });
        let Some((next, moved, next_value, next_gradient)) = accepted else {
            return Minimum { point, value, gradient_max, iterations, converged };
        };
        flat_steps = if next_value < value { 0 } else { flat_steps + 1 };
        memory.remember(moved, &next_gradient - &gradient);
        (point, value, gradient) = (next, next_value, next_gradient);
    }
    unreachable!("the last iteration returns")
}

/// The last steps and what they did to the gradient: an approximation of the inverse Hessian.
#[derive(Default)]
struct Memory {
    /// (step, change of the gradient, one over their product), oldest first.
    pairs: VecDeque<(Tensor, Tensor, f64)>,
}

impl Memory {
    /// Minus the approximate inverse Hessian times `gradient`, by the two-loop recursion.
    fn direction(&self, gradient: &Tensor) -> Tensor {
        let mut result = gradient.neg();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (moved, change, inverse) in self.pairs.iter().rev() {
            let share = inverse * dot(moved, &result);
            result -= change * share;
            shares.push(share);
        }
        if let Some((_, change, inverse)) = self.pairs.back() {
            result *= 1.0 / (inverse * dot(change, change));
        }
        for ((moved, change, inverse), share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            result += moved * (share - inverse * dot(change, &result));
        }
        result
    }

    /// Keeps a pair unless rounding has eaten its curvature.
    fn remember(&mut self, moved: Tensor, change: Tensor) {
        let product = dot(&moved, &change);
        if product <= f64::EPSILON * dot(&change, &change) {
            return;
        }
        if self.pairs.len() == MEMORY {
            self.pairs.pop_front();
        }
        self.pairs.push_back((moved, change, product.recip()));
    }
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// ½ xᵀ diag(curvatures) x − Σ x, whose minimum is at 1 / curvatures.
    fn quadratic(curvatures: &Tensor) -> impl Fn(&Tensor) -> (f64, Tensor) {
        move |x| {
            let value = dot(&(curvatures * x), x) / 2.0 - x.sum(Kind::Double).double_value(&[]);
            (value, curvatures * x - 1.0)
        }
    }

    #[test]
    fn an_ill_conditioned_bowl_is_solved() {
        let curvatures = Tensor::logspace(-1.0, 2.0, 50, 10.0, (Kind::Double, Device::Cpu));
        let stop = Stop { gradient_tolerance: 1e-6, max_iterations: 1000 };
        let minimum = minimise(&curvatures.zeros_like(), stop, quadratic(&curvatures));
        assert!(minimum.converged, "{minimum:?}");
        let error = (&minimum.point * &curvatures - 1.0).abs().max().double_value(&[]);
        assert!(error < 1e-6, "gradient at the answer is {error}");
        let expected = -0.5 * curvatures.reciprocal().sum(Kind::Double).double_value(&[]);
        assert!((minimum.value - expected).abs() < 1e-10 * expected.abs());
    }

    #[test]
    fn running_out_of_steps_is_said() {
        let curvatures = Tensor::from_slice(&[1.0, 100.0]);
        let stop = Stop { gradient_tolerance: 1e-12, max_iterations: 2 };
        let minimum = minimise(&curvatures.zeros_like(), stop, quadratic(&curvatures));
        assert!(!minimum.converged);
        assert_eq!(minimum.iterations, 2);
    }

    #[test]
    fn a_tolerance_below_rounding_ends_without_convergence() {
        let curvatures = Tensor::from_slice(&[3.0, 7.0]);
        let stop = Stop { gradient_tolerance: 0.0, max_iterations: 10_000 };
        // The gradient never vanishes: a stand-in for the rounding of a large sum.
        let minimum = minimise(&curvatures.zeros_like(), stop, |x| {
            let (value, gradient) = quadratic(&curvatures)(x);
            (value, gradient + 1e-15)
        });
        assert!(!minimum.converged);
        assert!(minimum.iterations < 100, "{} steps", minimum.iterations);
        assert!(minimum.gradient_max < 1e-6);
    }
}

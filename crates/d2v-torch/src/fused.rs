//! Several operators as one function of autograd that keeps less for the backward pass.

use crate::Result;
use crate::ffi::{self, check, pointer};
use tch::Tensor;

/// Weight `[out, in]` and bias `[out]` of a linear map.
#[derive(Debug, Clone, Copy)]
pub struct LinearMap<'a> {
    /// `[out, in]`.
    pub weight: &'a Tensor,
    /// `[out]`.
    pub bias: &'a Tensor,
}

/// `x Wᵀ + b` on the last axis of `x`.
///
/// On processors that are not Intel's, with AVX-512 and in f32, the products forward and of the input's gradient are
/// oneDNN's instead of MKL's: a tenth faster there. Elsewhere this is libtorch's operator.
///
/// # Errors
/// If shapes or kinds do not fit.
pub fn linear(x: &Tensor, map: LinearMap<'_>) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    #[expect(unsafe_code, reason = "call into linear.cpp, which hands over a new tensor")]
    // SAFETY: all pointers are live tensors for the length of the call; on success `out` is a fresh `at::Tensor*` that
    // we own.
    unsafe {
        check(ffi::d2v_linear(pointer(x), pointer(map.weight), pointer(map.bias), &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// `fc2(gelu(fc1(x)))` on the last axis of `x`, with the exact GELU.
///
/// Kept for the backward pass is the product of `fc1` but not the activation, which is made again: at width `4·D` a
/// fifth of what a block keeps. On the CPU in f32 and f64 everything between the products is one pass over the rows,
/// forward and backward, and equals the operators up to rounding; elsewhere the bits are those of the operators. Under
/// [`crate::autocast`] the products run in its kind.
///
/// # Errors
/// If shapes or kinds do not fit.
pub fn feed_forward(x: &Tensor, fc1: LinearMap<'_>, fc2: LinearMap<'_>) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    #[expect(unsafe_code, reason = "call into feed_forward.cpp, which hands over a new tensor")]
    // SAFETY: all pointers are live tensors for the length of the call; on success `out` is a fresh `at::Tensor*` that
    // we own.
    unsafe {
        check(ffi::d2v_feed_forward(
            pointer(x),
            pointer(fc1.weight),
            pointer(fc1.bias),
            pointer(fc2.weight),
            pointer(fc2.bias),
            &mut out,
        ))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autocast;
    use crate::seed::seeded;
    use tch::{Device, Kind};

    const SHAPES: [&[i64]; 5] = [&[6, 19, 12], &[48, 12], &[48], &[12, 48], &[12]];

    /// Output and the gradients of input, weights and biases.
    fn run(kind: Kind, precision: Kind, fused: bool) -> Vec<Tensor> {
        let tensors: Vec<Tensor> = seeded(&[4], || {
            let random = |shape: &&[i64]| Tensor::randn(*shape, (kind, Device::Cpu)).set_requires_grad(true);
            SHAPES.iter().map(random).collect()
        });
        let [x, w1, b1, w2, b2] = [0, 1, 2, 3, 4].map(|i: usize| &tensors[i]);
        let out = autocast::with(Device::Cpu, precision, || {
            if fused {
                let (fc1, fc2) = (LinearMap { weight: w1, bias: b1 }, LinearMap { weight: w2, bias: b2 });
                feed_forward(x, fc1, fc2).unwrap()
            } else {
                x.linear(w1, Some(b1)).gelu("none").linear(w2, Some(b2))
            }
        })
        .unwrap();
        out.to_kind(kind).cos().sum(kind).backward();
        let mut all = vec![out.detach()];
        all.extend(tensors.iter().map(Tensor::grad));
        all
    }

    #[test]
    fn equals_the_operators() {
        for (kind, precision, bound) in [
            (Kind::Double, Kind::Double, 1e-14),
            (Kind::Float, Kind::Float, 5e-6),
            (Kind::Float, Kind::BFloat16, 0.0),
        ] {
            let names = ["output", "x", "fc1 weight", "fc1 bias", "fc2 weight", "fc2 bias"];
            for ((ours, theirs), name) in
                run(kind, precision, true).iter().zip(run(kind, precision, false)).zip(names)
            {
                assert_eq!((ours.kind(), ours.size()), (theirs.kind(), theirs.size()), "{name}");
                let largest = |t: &Tensor| t.abs().max().to_kind(Kind::Double).double_value(&[]);
                let difference = largest(&(ours - &theirs)) / largest(&theirs);
                assert!(difference <= bound, "{kind:?} in {precision:?}: {name} differs by {difference:e}");
            }
        }
    }

    /// Sizes above and below those from which on a product may be oneDNN's; on other processors both are libtorch's.
    #[test]
    fn a_linear_map_equals_the_operator() {
        for (rows, width, out) in [(300, 96, 160), (3, 4, 5)] {
            let tensors = seeded(&[8], || {
                let random =
                    |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
                [random(&[2, rows, width]), random(&[out, width]), random(&[out])]
            });
            let all = |ours: bool| {
                let [x, w, b] = &tensors;
                let y = match ours {
                    true => linear(x, LinearMap { weight: w, bias: b }).unwrap(),
                    false => x.linear(w, Some(b)),
                };
                y.cos().sum(Kind::Float).backward();
                let gradients = tensors.each_ref().map(|tensor| tensor.grad().copy());
                crate::foreach::clear_grads(&tensors).unwrap();
                let [d_x, d_w, d_b] = gradients;
                [y.detach(), d_x, d_w, d_b]
            };
            for ((ours, theirs), name) in all(true).iter().zip(&all(false)).zip(["y", "x", "weight", "bias"])
            {
                assert_eq!(ours.size(), theirs.size(), "{name}");
                let largest = |t: &Tensor| t.abs().max().double_value(&[]);
                let difference = largest(&(ours - theirs)) / largest(theirs);
                assert!(difference < 2e-6, "{rows} rows: {name} differs by {difference:e}");
            }
        }
        let wrong = Tensor::zeros([700, 7], (Kind::Float, Device::Cpu));
        let [_, w, b] = [0, 1, 2].map(|_| Tensor::zeros([7000, 8], (Kind::Float, Device::Cpu)));
        assert!(linear(&wrong, LinearMap { weight: &w, bias: &b.select(1, 0) }).is_err(), "7 is not 8");
    }

    #[test]
    fn the_activation_is_exact_far_out() {
        let one = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
        let (w, b) = (one.shallow_clone(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
        let (fc1, fc2) = (LinearMap { weight: &w, bias: &b }, LinearMap { weight: &one, bias: &b });
        let x = Tensor::arange_start_step(-12.0, 12.0, 0.01, (Kind::Float, Device::Cpu)).unsqueeze(1);
        let x = x.set_requires_grad(true);
        let out = feed_forward(&x, fc1, fc2).unwrap();
        out.sum(Kind::Float).backward();
        let exact = x.detach().to_kind(Kind::Double).set_requires_grad(true);
        let wanted = exact.gelu("none");
        wanted.sum(Kind::Double).backward();
        // Half a unit in the last place of 12 is 4.8e-7; the derivative is of the order of 1.
        for (ours, exact, name) in [(out, wanted, "value"), (x.grad(), exact.grad(), "derivative")] {
            let worst = (ours.to_kind(Kind::Double) - exact).abs().max().double_value(&[]);
            assert!(worst < 6e-7, "{name}: {worst:e}");
        }
        for (infinite, expected) in [(f64::INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)] {
            let x = Tensor::full([1, 1], infinite, (Kind::Float, Device::Cpu));
            let out = feed_forward(&x, fc1, fc2).unwrap().double_value(&[0, 0]);
            assert!(out == expected || (out.is_nan() && expected.is_nan()), "gelu({infinite}) is {out}");
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let with = |threads| {
            let before = tch::get_num_threads();
            tch::set_num_threads(threads);
            let all = run(Kind::Float, Kind::Float, true);
            tch::set_num_threads(before);
            all
        };
        for (one, four) in with(1).iter().zip(with(4)) {
            assert!(one.equal(&four));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_an_error() {
        let [x, w1, b1, w2] = [[2, 3], [8, 3], [8, 1], [3, 7]]
            .map(|shape: [i64; 2]| Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
        let (b1, b2) = (b1.view([8]), Tensor::zeros([3], (Kind::Float, Device::Cpu)));
        let (fc1, fc2) = (LinearMap { weight: &w1, bias: &b1 }, LinearMap { weight: &w2, bias: &b2 });
        assert!(feed_forward(&x, fc1, fc2).is_err(), "8 is not 7");
    }
}

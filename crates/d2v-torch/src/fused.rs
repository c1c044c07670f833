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

/// `fc2(gelu(fc1(x)))` on the last axis of `x`, with the exact GELU.
///
/// The same bits as the operators one by one, forward and backward. Kept for the backward pass is the output of `fc1`
/// but not the activation, which is made again: at width `4·D` a fifth of what a block keeps. Under
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

    const SHAPES: [&[i64]; 5] = [&[2, 7, 12], &[48, 12], &[48], &[12, 48], &[12]];

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
    fn the_same_bits_as_the_operators() {
        for (kind, precision) in
            [(Kind::Double, Kind::Double), (Kind::Float, Kind::Float), (Kind::Float, Kind::BFloat16)]
        {
            let names = ["output", "x", "fc1 weight", "fc1 bias", "fc2 weight", "fc2 bias"];
            for ((ours, theirs), name) in
                run(kind, precision, true).iter().zip(run(kind, precision, false)).zip(names)
            {
                assert_eq!((ours.kind(), ours.size()), (theirs.kind(), theirs.size()), "{name}");
                assert!(ours.equal(&theirs), "{kind:?} in {precision:?}: {name} differs");
            }
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

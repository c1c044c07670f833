//! AdamW over many tensors in one kernel (`_fused_adamw_`), for any device, f32 or f64.
//!
//! libtorch's own optimizer classes, which tch binds, run small kernels per parameter and cannot save their state.

use crate::ffi::{self, check, pointer, pointers};
use crate::{Error, Result};
use tch::Tensor;

/// Hyper-parameters of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Decoupled weight decay: parameters are multiplied by `1 - lr * weight_decay` first.
    pub weight_decay: f64,
    /// Added to the bias-corrected root of the squared mean.
    pub eps: f64,
}

/// The tensors of one parameter group, going together by index.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Parameters, changed in place.
    pub params: &'a [Tensor],
    /// Gradients, read.
    pub grads: &'a [Tensor],
    /// Running means of gradients, changed in place.
    pub exp_avgs: &'a [Tensor],
    /// Running means of squared gradients, changed in place.
    pub exp_avg_sqs: &'a [Tensor],
}

/// One step: `m = b1 m + (1-b1) g`, `v = b2 v + (1-b2) g²`, `p -= lr wd p`,
/// `p -= lr/(1-b1^t) · m / (sqrt(v)/sqrt(1-b2^t) + eps)`.
///
/// `step` is a one-element f32 tensor with the number `t` of this step, 1 for the first.
///
/// # Errors
/// If the lists differ in length, or libtorch refuses (kinds or shapes that differ).
pub fn step(group: &Group<'_>, step: &Tensor, hyper: &AdamW) -> Result<()> {
    let count = group.params.len();
    for other in [group.grads, group.exp_avgs, group.exp_avg_sqs] {
        if other.len() != count {
            return Err(Error::ListLength { what: "adamw::step", left: count, right: other.len() });
        }
    }
    if count == 0 {
        return Ok(());
    }
    let (p, g) = (pointers(group.params), pointers(group.grads));
    let (m, v) = (pointers(group.exp_avgs), pointers(group.exp_avg_sqs));
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the four arrays hold `count` live tensor pointers each, `step` one, for the length of the call.
    check(unsafe {
        ffi::d2v_fused_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            count,
            pointer(step),
            hyper.lr,
            hyper.beta1,
            hyper.beta2,
            hyper.weight_decay,
            hyper.eps,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn equals_the_formula_in_f64() {
        let hyper = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.05, eps: 1e-6 };
        let params = [Tensor::randn([4, 3], (Kind::Double, Device::Cpu))];
        let (m, v) = ([params[0].zeros_like()], [params[0].zeros_like()]);
        let (mut p_ref, mut m_ref, mut v_ref) = (params[0].copy(), m[0].copy(), v[0].copy());
        for t in 1..=3 {
            let grads = [Tensor::randn([4, 3], (Kind::Double, Device::Cpu))];
            let group = Group { params: &params, grads: &grads, exp_avgs: &m, exp_avg_sqs: &v };
            step(&group, &Tensor::from(t as f32), &hyper).unwrap();
            let g = &grads[0];
            m_ref = &m_ref * hyper.beta1 + g * (1.0 - hyper.beta1);
            v_ref = &v_ref * hyper.beta2 + g * g * (1.0 - hyper.beta2);
            p_ref = &p_ref * (1.0 - hyper.lr * hyper.weight_decay);
            let correction1 = 1.0 - hyper.beta1.powi(t);
            let correction2 = 1.0 - hyper.beta2.powi(t);
            p_ref -= &m_ref / ((&v_ref / correction2).sqrt() + hyper.eps) * (hyper.lr / correction1);
        }
        for (got, expected) in [(&params[0], &p_ref), (&m[0], &m_ref), (&v[0], &v_ref)] {
            let worst = (got - expected).abs().max().double_value(&[]);
            assert!(worst < 1e-13, "differs by {worst}");
        }
    }

    #[test]
    fn missing_gradients_are_an_error() {
        let p = [Tensor::zeros([2], (Kind::Float, Device::Cpu))];
        let group = Group { params: &p, grads: &[], exp_avgs: &p, exp_avg_sqs: &p };
        let hyper = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, eps: 1e-6 };
        let got = step(&group, &Tensor::from(1f32), &hyper);
        assert!(matches!(got, Err(Error::ListLength { left: 1, right: 0, .. })), "{got:?}");
    }
}

//! AdamW over many tensors in one kernel (`_fused_adamw_`), for any device, f32 or f64.
//!
//! libtorch's own optimizer classes, which tch binds, run small kernels per parameter and cannot save their state.
//!
//! What depends on values of the device (whether to step at all, by how much gradients are clipped) is given as tensors
//! there, so that the host need not wait for them. For models in low precision [`MasterWeights`] keeps what is learnt in
//! f32.

use crate::ffi::{self, check, pointer, pointers};
use crate::{Error, Result, foreach};
use tch::{Kind, Tensor};

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

/// What a step reads on the parameters' device; each a one-element f32 tensor (the divisor of f64 gradients one of f64).
#[derive(Debug, Clone, Copy)]
pub struct OnDevice<'a> {
    /// The number `t` of this step, 1 for the first.
    pub step: &'a Tensor,
    /// Divides the gradients, which are overwritten by the quotients; absent: they enter as they are.
    pub divisor: Option<&'a Tensor>,
    /// Where it is 1, parameters and means stay as they are; absent or 0: they move.
    pub skip: Option<&'a Tensor>,
}

impl<'a> OnDevice<'a> {
    /// A step that takes gradients as they are and is never skipped.
    pub fn plain(step: &'a Tensor) -> OnDevice<'a> {
        OnDevice { step, divisor: None, skip: None }
    }
}

/// One step: `m = b1 m + (1-b1) g`, `v = b2 v + (1-b2) g²`, `p -= lr wd p`,
/// `p -= lr/(1-b1^t) · m / (sqrt(v)/sqrt(1-b2^t) + eps)`.
///
/// # Errors
/// If the lists differ in length, or libtorch refuses (kinds or shapes that differ).
pub fn step(group: &Group<'_>, on_device: OnDevice<'_>, hyper: &AdamW) -> Result<()> {
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
    let optional = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null(), pointer);
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the four arrays hold `count` live tensor pointers each, the three of `on_device` are live too or null where
    // that is allowed, for the length of the call.
    check(unsafe {
        ffi::d2v_fused_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            count,
            pointer(on_device.step),
            optional(on_device.divisor),
            optional(on_device.skip),
            hyper.lr,
            hyper.beta1,
            hyper.beta2,
            hyper.weight_decay,
            hyper.eps,
        )
    })
}

/// f32 copies of parameters in low precision: what moves by less than a step of bf16 is not lost.
///
/// [`step`] moves [`MasterWeights::full`] by [`MasterWeights::gradients`]; [`MasterWeights::write_back`] rounds them
/// into the model.
#[derive(Debug)]
pub struct MasterWeights {
    full: Vec<Tensor>,
    low: Vec<Tensor>,
}

impl MasterWeights {
    /// Of these parameters.
    pub fn of(parameters: &[Tensor]) -> MasterWeights {
        MasterWeights {
            full: parameters.iter().map(|low| low.detach().to_dtype(Kind::Float, false, true)).collect(),
            low: parameters.iter().map(Tensor::detach).collect(),
        }
    }

    /// The f32 copies, in the order of the parameters.
    pub fn full(&self) -> &[Tensor] {
        &self.full
    }

    /// The parameters' gradients in f32; zeros where there is none.
    pub fn gradients(&self, parameters: &[Tensor]) -> Vec<Tensor> {
        let full = |(parameter, master): (&Tensor, &Tensor)| match parameter.grad() {
            grad if grad.defined() => grad.to_kind(Kind::Float),
            _ => master.zeros_like(),
        };
        parameters.iter().zip(&self.full).map(full).collect()
    }

    /// Rounds the copies into the parameters.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn write_back(&self) -> Result<()> {
        foreach::copy(&self.low, &self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_divisor_divides_and_a_skip_leaves_all_as_it_was() {
        let hyper = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.05, eps: 1e-3 };
        let start = [Tensor::randn([9], (Kind::Float, Device::Cpu))];
        let gradient = Tensor::randn([9], (Kind::Float, Device::Cpu));
        let run = |divisor: Option<f32>, skip: Option<f32>, gradient: &Tensor| {
            let (params, m, v) = ([start[0].copy()], [start[0].zeros_like()], [start[0].zeros_like()]);
            let grads = [gradient.copy()];
            let group = Group { params: &params, grads: &grads, exp_avgs: &m, exp_avg_sqs: &v };
            let (divisor, skip) = (divisor.map(Tensor::from), skip.map(Tensor::from));
            let first = Tensor::from(1f32);
            let on_device = OnDevice { step: &first, divisor: divisor.as_ref(), skip: skip.as_ref() };
            step(&group, on_device, &hyper).unwrap();
            let ([p], [m], [v]) = (params, m, v);
            [p, m, v]
        };
        let halved = run(None, None, &(&gradient / 2.0));
        let divided = run(Some(2.0), Some(0.0), &gradient);
        assert!(divided.iter().zip(&halved).all(|(a, b)| a.allclose(b, 1e-6, 1e-7, false)), "divided");
        let poisoned = run(Some(f32::NAN), Some(1.0), &(&gradient * f64::NAN));
        assert!(poisoned[0].equal(&start[0]), "parameters moved");
        assert!(poisoned[1..].iter().all(|mean| mean.abs().max().double_value(&[]) == 0.0), "means moved");
    }

    #[test]
    fn master_weights_keep_what_bf16_would_lose() {
        let hyper = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, eps: 1e-8 };
        let place = (Kind::Float, Device::Cpu);
        let model = [Tensor::ones([4], place).to_kind(Kind::BFloat16).set_requires_grad(true)];
        let masters = MasterWeights::of(&model);
        let (m, v) = ([Tensor::zeros([4], place)], [Tensor::zeros([4], place)]);
        let (alone, mut m_ref, mut v_ref) = (Tensor::ones([4], place), m[0].copy(), v[0].copy());
        for t in 1..=40 {
            model[0].to_kind(Kind::Float).sum(Kind::Float).backward();
            let grads = masters.gradients(&model);
            assert_eq!(grads[0].kind(), Kind::Float);
            let group = Group { params: masters.full(), grads: &grads, exp_avgs: &m, exp_avg_sqs: &v };
            step(&group, OnDevice::plain(&Tensor::from(t as f32)), &hyper).unwrap();
            masters.write_back().unwrap();
            foreach::clear_grads(&model).unwrap();
            // The same in f32 throughout: the gradient is 1 everywhere.
            let ([ones], one) = ([Tensor::ones([4], place)], [alone.shallow_clone()]);
            let (mm, vv) = ([m_ref.shallow_clone()], [v_ref.shallow_clone()]);
            let group = Group { params: &one, grads: &[ones], exp_avgs: &mm, exp_avg_sqs: &vv };
            step(&group, OnDevice::plain(&Tensor::from(t as f32)), &hyper).unwrap();
            (m_ref, v_ref) = (mm[0].shallow_clone(), vv[0].shallow_clone());
        }
        assert!(masters.full()[0].equal(&alone), "f32 copies are not an f32 run");
        // 40 steps of 1e-4 are less than bf16 tells apart from 1 one by one (0.004), and together just one of them.
        assert!(model[0].to_kind(Kind::Float).equal(&alone.to_kind(Kind::BFloat16).to_kind(Kind::Float)));
        assert!(model[0].to_kind(Kind::Float).lt(1.0).all().int64_value(&[]) == 1, "the model did not move");
    }

    #[test]
    fn equals_the_formula_in_f64() {
        let hyper = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.05, eps: 1e-6 };
        let params = [Tensor::randn([4, 3], (Kind::Double, Device::Cpu))];
        let (m, v) = ([params[0].zeros_like()], [params[0].zeros_like()]);
        let (mut p_ref, mut m_ref, mut v_ref) = (params[0].copy(), m[0].copy(), v[0].copy());
        for t in 1..=3 {
            let grads = [Tensor::randn([4, 3], (Kind::Double, Device::Cpu))];
            let group = Group { params: &params, grads: &grads, exp_avgs: &m, exp_avg_sqs: &v };
            step(&group, OnDevice::plain(&Tensor::from(t as f32)), &hyper).unwrap();
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
        let got = step(&group, OnDevice::plain(&Tensor::from(1f32)), &hyper);
        assert!(matches!(got, Err(Error::ListLength { left: 1, right: 0, .. })), "{got:?}");
    }
}

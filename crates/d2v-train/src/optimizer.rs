//! AdamW over groups of parameters, with a state that saves and loads.

use crate::{Error, Result};
use d2v_torch::adamw::{self, AdamW, Group};
use d2v_torch::{Parameters, foreach};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Where `eps` is added to the root of the squared mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpsPlacement {
    /// After its bias correction, as AdamW is usually written.
    #[default]
    Corrected,
    /// Before, as in the reference's runs of speech, text and 2.0 (spec 2.4).
    Uncorrected,
}

/// Which parameters keep clear of weight decay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoDecay {
    /// Those with one axis: norms, biases, LayerScale.
    #[serde(default)]
    pub one_dimensional: bool,
    /// Those whose name ends with one of these (`cls_token`, say).
    #[serde(default)]
    pub names: Vec<String>,
}

impl NoDecay {
    fn applies(&self, name: &str, tensor: &Tensor) -> bool {
        (self.one_dimensional && tensor.dim() < 2)
            || self.names.iter().any(|suffix| name.ends_with(suffix.as_str()))
    }
}

/// Settings of the optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decay of the mean of gradients, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the division finite.
    pub eps: f64,
    /// Where `eps` is added.
    #[serde(default)]
    pub eps_placement: EpsPlacement,
    /// Decoupled weight decay, times the learning rate.
    pub weight_decay: f64,
    /// What is not decayed.
    #[serde(default)]
    pub no_decay: NoDecay,
    /// Largest global L2 norm of the gradient; absent: no clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
}

impl OptimizerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        let bad = |key: &str, value: f64, rule: &str| {
            Err(Error::Config {
                key: format!("optimizer.{key}"),
                value: value.to_string(),
                rule: rule.into(),
            })
        };
        for (key, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return bad(key, value, "must be in [0, 1)");
            }
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return bad("eps", self.eps, "must be above 0");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return bad("weight_decay", self.weight_decay, "must be 0 or above");
        }
        match self.clip_norm {
            Some(norm) if !(norm > 0.0 && norm.is_finite()) => {
                bad("clip_norm", norm, "must be above 0; leave it out to clip nothing")
            }
            _ => Ok(()),
        }
    }
}

/// Parameters of one kind: decayed or not.
#[derive(Debug, Default)]
struct Members {
    names: Vec<String>,
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
}

/// The optimizer and its state.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    decayed: Members,
    undecayed: Members,
    /// Steps taken: a one-element f32 tensor on the parameters' device, which alone knows whether one was skipped.
    taken: Tensor,
}

impl Optimizer {
    /// Moments of zero for every parameter.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(config: &OptimizerConfig, parameters: &Parameters) -> Result<Optimizer> {
        config.validate()?;
        let (mut decayed, mut undecayed) = (Members::default(), Members::default());
        for (name, tensor) in parameters.iter() {
            let members = if config.no_decay.applies(name, tensor) { &mut undecayed } else { &mut decayed };
            members.names.push(name.to_owned());
            members.params.push(tensor.shallow_clone());
            members.exp_avgs.push(tensor.detach().zeros_like());
            members.exp_avg_sqs.push(tensor.detach().zeros_like());
        }
        let device = parameters.tensors().first().map_or(Device::Cpu, Tensor::device);
        let taken = Tensor::zeros([1], (Kind::Float, device));
        Ok(Optimizer { config: config.clone(), decayed, undecayed, taken })
    }

    /// Names of the parameters that are decayed (or not), in order.
    pub fn names(&self, decayed: bool) -> &[String] {
        if decayed { &self.decayed.names } else { &self.undecayed.names }
    }

    /// Number of steps taken, skipped ones left out. Waits for the device.
    pub fn steps(&self) -> u64 {
        self.taken.double_value(&[0]) as u64
    }

    /// Gradients of all parameters, decayed ones first. One that a pass did not reach (a dropped layer) is zero.
    pub fn gradients(&self) -> Vec<Tensor> {
        let params = self.decayed.params.iter().chain(&self.undecayed.params);
        params
            .map(|p| {
                let grad = p.grad();
                if grad.defined() { grad } else { p.detach().zeros_like() }
            })
            .collect()
    }

    /// Takes the gradients of all parameters away.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn clear_gradients(&self) -> Result<()> {
        foreach::clear_grads(&self.decayed.params)?;
        Ok(foreach::clear_grads(&self.undecayed.params)?)
    }

    /// What gradients of this norm are divided by to have the configured one: `max(1, (norm + 1e-6) / max)` (spec 2.4).
    fn divisor(&self, norm: &Tensor) -> Option<Tensor> {
        self.config.clip_norm.map(|max| ((norm + 1e-6) / max).clamp_min(1.0))
    }

    /// One AdamW step with `gradients` in the order of [`Optimizer::gradients`], clipped to the configured norm by
    /// `norm`, the scalar that is theirs. Where `skip`, a one-element f32 tensor on their device, is 1 (else 0), nothing
    /// moves. The device is not waited for.
    ///
    /// `update` is 1 for the first step; it corrects an uncorrected `eps`. Other than the number of steps by which means
    /// are corrected it counts skipped ones, of which the host does not know in time: a difference only near the start.
    ///
    /// # Errors
    /// If the number of gradients is wrong, or libtorch refuses.
    pub fn step(
        &mut self,
        gradients: &[Tensor],
        norm: &Tensor,
        skip: &Tensor,
        (lr, update): (f64, u64),
    ) -> Result<()> {
        let OptimizerConfig { beta1, beta2, eps, eps_placement, weight_decay, .. } = self.config;
        let eps = match eps_placement {
            EpsPlacement::Corrected => eps,
            // m/(sqrt(v) + eps) with v uncorrected is m/(sqrt(v/c) + eps/sqrt(c)) over sqrt(c), c = 1 - beta2^t.
            EpsPlacement::Uncorrected => eps / (1.0 - beta2.powf(update as f64)).sqrt(),
        };
        self.taken += 1.0 - skip;
        let divisor = self.divisor(norm);
        let on_device = adamw::OnDevice { step: &self.taken, divisor: divisor.as_ref(), skip: Some(skip) };
        let (first, second) = gradients.split_at(self.decayed.params.len().min(gradients.len()));
        for (members, grads, weight_decay) in
            [(&self.decayed, first, weight_decay), (&self.undecayed, second, 0.0)]
        {
            let Members { params, exp_avgs, exp_avg_sqs, .. } = members;
            let group = Group { params, grads, exp_avgs, exp_avg_sqs };
            adamw::step(&group, on_device, &AdamW { lr, beta1, beta2, weight_decay, eps })?;
        }
        Ok(())
    }

    /// The state: `exp_avg.NAME`, `exp_avg_sq.NAME`, and the number of steps taken as `steps` (int64). Waits for the
    /// device.
    pub fn state(&self) -> Parameters {
        let moments = [&self.decayed, &self.undecayed].into_iter().flat_map(|members| {
            let named = members.names.iter().zip(&members.exp_avgs).zip(&members.exp_avg_sqs);
            named.flat_map(|((name, m), v)| {
                [
                    (format!("exp_avg.{name}"), m.shallow_clone()),
                    (format!("exp_avg_sq.{name}"), v.shallow_clone()),
                ]
            })
        });
        moments.chain([("steps".to_owned(), Tensor::from(self.steps() as i64))]).collect()
    }

    /// Takes over a state made by [`Optimizer::state`] for the same parameters.
    ///
    /// # Errors
    /// If a name is missing, unknown or of another shape; nothing is changed then.
    pub fn load(&mut self, state: &Parameters) -> Result<()> {
        self.state().copy_from(state)?;
        // `state()` shares the moments, but its step count is a copy.
        let steps = state.get("steps").map_or(0, |steps| steps.int64_value(&[])).max(0);
        let _ = self.taken.fill_(steps as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::{Init, ParamStore};
    use tch::Device;

    fn config(eps_placement: EpsPlacement) -> OptimizerConfig {
        let no_decay = NoDecay { one_dimensional: true, names: vec!["cls_token".into()] };
        let (beta1, beta2, eps, weight_decay) = (0.9, 0.98, 1e-3, 0.1);
        OptimizerConfig { beta1, beta2, eps, eps_placement, weight_decay, no_decay, clip_norm: None }
    }

    fn parameters() -> Parameters {
        let store = ParamStore::new(Device::Cpu, Kind::Double, 1);
        for (name, shape) in [("a.weight", &[2i64, 3][..]), ("a.bias", &[2]), ("cls_token", &[1, 1, 3])] {
            let _ = store.root().param(name, shape, Init::Normal { std: 1.0 }).unwrap();
        }
        store.into_parameters()
    }

    fn backward(parameters: &Parameters) {
        let terms: Vec<Tensor> = parameters.tensors().iter().map(|t| t.cos().sum(Kind::Double)).collect();
        Tensor::stack(&terms, 0).sum(Kind::Double).backward();
    }

    fn one_step(optimizer: &mut Optimizer, parameters: &Parameters) {
        backward(parameters);
        let gradients = optimizer.gradients();
        let norm = foreach::global_norm(&gradients).unwrap();
        let update = optimizer.steps() + 1;
        optimizer.step(&gradients, &norm, &Tensor::from(0f32), (0.05, update)).unwrap();
        optimizer.clear_gradients().unwrap();
    }

    #[test]
    fn groups_follow_the_named_rules() {
        let optimizer = Optimizer::new(&config(EpsPlacement::Corrected), &parameters()).unwrap();
        assert_eq!(optimizer.names(true), ["a.weight"], "decayed");
        assert_eq!(optimizer.names(false), ["a.bias", "cls_token"], "not decayed");
    }

    #[test]
    fn the_uncorrected_eps_is_the_references_formula() {
        let parameters = parameters();
        let w = parameters.get("a.weight").unwrap();
        let mut optimizer = Optimizer::new(&config(EpsPlacement::Uncorrected), &parameters).unwrap();
        let (mut p, mut m, mut v) = (w.detach().copy(), w.detach().zeros_like(), w.detach().zeros_like());
        for t in 1..=3i32 {
            one_step(&mut optimizer, &parameters);
            let g = -p.sin();
            m = m * 0.9 + &g * 0.1;
            v = v * 0.98 + &g * &g * 0.02;
            let lr = 0.05 * (1.0 - 0.98f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
            p *= 1.0 - 0.05 * 0.1;
            p -= &m / (v.sqrt() + 1e-3) * lr;
            // The gradient of the next step is taken at the parameter itself.
            let worst = (w.detach() - &p).abs().max().double_value(&[]);
            assert!(worst < 1e-12, "step {t}: off by {worst}");
        }
    }

    #[test]
    fn a_state_saved_and_loaded_goes_on_as_if_nothing_happened() {
        let (through, stopped) = (parameters(), parameters());
        let mut a = Optimizer::new(&config(EpsPlacement::Uncorrected), &through).unwrap();
        let mut b = Optimizer::new(&config(EpsPlacement::Uncorrected), &stopped).unwrap();
        for _ in 0..3 {
            one_step(&mut a, &through);
            one_step(&mut b, &stopped);
        }
        let saved: Parameters = b.state().iter().map(|(n, t)| (n.to_owned(), t.copy())).collect();
        let mut c = Optimizer::new(&config(EpsPlacement::Uncorrected), &stopped).unwrap();
        c.load(&saved).unwrap();
        for _ in 0..3 {
            one_step(&mut a, &through);
            one_step(&mut c, &stopped);
        }
        assert_eq!(c.steps(), 6, "steps");
        assert!(through.tensors().iter().zip(stopped.tensors()).all(|(x, y)| x.equal(&y)), "bits differ");
        let wrong: Parameters = saved.iter().skip(1).map(|(n, t)| (n.to_owned(), t.copy())).collect();
        assert!(c.load(&wrong).is_err(), "a missing moment");
    }

    #[test]
    fn clipping_scales_to_the_norm_or_not_at_all() {
        let config = OptimizerConfig { clip_norm: Some(1.0), ..config(EpsPlacement::Corrected) };
        let moved = |length: f64, scaled_by_hand: f64, clip_norm: Option<f64>| {
            let parameters = parameters();
            let config = OptimizerConfig { clip_norm, ..config.clone() };
            let mut optimizer = Optimizer::new(&config, &parameters).unwrap();
            backward(&parameters);
            let gradients = optimizer.gradients();
            let norm = foreach::global_norm(&gradients).unwrap().double_value(&[]);
            foreach::scale(&gradients, length / norm * scaled_by_hand).unwrap();
            let no_skip = Tensor::from(0f32);
            optimizer.step(&gradients, &Tensor::from(length), &no_skip, (0.05, 1)).unwrap();
            parameters
        };
        for (length, factor) in [(5.0, 0.2), (0.5, 1.0)] {
            let (clipped, by_hand) = (moved(length, 1.0, Some(1.0)), moved(length, factor, None));
            for (a, b) in clipped.tensors().iter().zip(by_hand.tensors()) {
                assert!((a - b).abs().max().double_value(&[]) < 1e-8, "norm {length}");
            }
        }
    }

    #[test]
    fn a_skipped_step_is_not_taken() {
        let parameters = parameters();
        let mut optimizer = Optimizer::new(&config(EpsPlacement::Corrected), &parameters).unwrap();
        one_step(&mut optimizer, &parameters);
        let before: Vec<Tensor> = parameters.tensors().iter().map(|t| t.detach().copy()).collect();
        let gradients: Vec<Tensor> = before.iter().map(|t| t * f64::NAN).collect();
        let norm = foreach::global_norm(&gradients).unwrap();
        optimizer.step(&gradients, &norm, &Tensor::from(1f32), (0.05, 2)).unwrap();
        assert!(before.iter().zip(parameters.tensors()).all(|(a, b)| a.equal(&b)), "parameters moved");
        assert_eq!(optimizer.steps(), 1);
        one_step(&mut optimizer, &parameters);
        assert!(
            parameters.tensors().iter().all(|t| t.isfinite().all().int64_value(&[]) == 1),
            "poisoned means"
        );
        assert_eq!(optimizer.steps(), 2);
    }
}

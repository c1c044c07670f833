//! From the teacher's layers to targets (spec 1.3, paper section 3.2).

use crate::{Error, Normalization, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What turns layer outputs into targets.
pub trait TargetRule {
    /// How many layers, counted from the top, it needs.
    fn top_layers(&self) -> usize;

    /// Whether a position's target depends on that position's layers alone, so that others need not be computed.
    fn is_per_position(&self) -> bool;

    /// Targets `[B, L, D]` in f32 (f64 from f64) from the top layers `[B, L, D]`, lowest first.
    ///
    /// # Errors
    /// If the number of layers or their shapes do not fit.
    fn targets(&self, layers_bld: &[Tensor]) -> Result<Tensor>;
}

/// The paper's rule: `y = post( mean over the top K layers of per_layer(a) )`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopLayerAverage {
    /// K: how many layers are averaged.
    pub top_k: usize,
    /// Normalises each layer before the mean.
    pub per_layer: Normalization,
    /// Normalises the mean.
    pub post: Normalization,
}

impl TopLayerAverage {
    /// Checks K against the depth of the stack.
    ///
    /// # Errors
    /// If K is 0 or above `depth`.
    pub fn validate(&self, depth: usize) -> Result<()> {
        if (1..=depth).contains(&self.top_k) {
            return Ok(());
        }
        let value = format!("{} of {depth} blocks", self.top_k);
        Err(Error::Config { key: "targets.top_k", value, rule: "must be between 1 and the number of blocks" })
    }
}

impl TargetRule for TopLayerAverage {
    fn top_layers(&self) -> usize {
        self.top_k
    }

    fn is_per_position(&self) -> bool {
        self.per_layer.is_per_position() && self.post.is_per_position()
    }

    fn targets(&self, layers_bld: &[Tensor]) -> Result<Tensor> {
        let first = layers_bld.first().filter(|_| layers_bld.len() == self.top_k);
        let Some(first) = first else {
            let expected = format!("{} layers", self.top_k);
            return Err(Error::Shape {
                what: "teacher layers",
                expected,
                got: vec![layers_bld.len() as i64],
            });
        };
        if let Some(other) = layers_bld.iter().find(|layer| layer.size() != first.size()) {
            let expected = format!("all of shape {:?}", first.size());
            return Err(Error::Shape { what: "teacher layers", expected, got: other.size() });
        }
        let full = |layer: &Tensor| match layer.kind() {
            Kind::Double => layer.shallow_clone(),
            _ => layer.to_kind(Kind::Float),
        };
        // A copy, so that adding the other layers in place never writes into the teacher's own tensor.
        let mut sum = self.per_layer.apply(&full(first))?;
        if layers_bld.len() > 1 {
            sum = sum.copy();
        }
        for layer in &layers_bld[1..] {
            sum += self.per_layer.apply(&full(layer))?;
        }
        self.post.apply(&(sum / self.top_k as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::seed::seeded;
    use tch::Device;

    fn layers(k: u64) -> Vec<Tensor> {
        (0..k)
            .map(|i| seeded(&[i], || Tensor::randn([2, 6, 8], (Kind::Double, Device::Cpu)) * 3.0 + 1.0))
            .collect()
    }

    fn rule(top_k: usize, per_layer: Normalization, post: Normalization) -> TopLayerAverage {
        TopLayerAverage { top_k, per_layer, post }
    }

    #[test]
    fn with_one_layer_the_target_is_that_layer_normalised() {
        let layers = layers(1);
        let got = rule(1, Normalization::InstanceNorm, Normalization::None).targets(&layers).unwrap();
        assert!(got.equal(&Normalization::InstanceNorm.apply(&layers[0]).unwrap()), "K = 1");
    }

    #[test]
    fn the_mean_is_over_normalised_layers_and_inputs_stay() {
        let layers = layers(3);
        let before: Vec<Tensor> = layers.iter().map(Tensor::copy).collect();
        for per_layer in [Normalization::None, Normalization::LayerNorm] {
            let got = rule(3, per_layer, Normalization::LayerNorm).targets(&layers).unwrap();
            let normal: Vec<Tensor> = before.iter().map(|l| per_layer.apply(l).unwrap()).collect();
            let mean = Tensor::stack(&normal, 0).mean_dim(0, false, None::<Kind>);
            let expected = Normalization::LayerNorm.apply(&mean).unwrap();
            assert!((got - expected).abs().max().double_value(&[]) < 1e-13, "{per_layer:?}");
        }
        assert!(layers.iter().zip(&before).all(|(a, b)| a.equal(b)), "a layer was changed");
    }

    #[test]
    fn half_precision_layers_give_full_precision_targets() {
        let half: Vec<Tensor> = layers(2).iter().map(|l| l.to_kind(Kind::BFloat16)).collect();
        let got = rule(2, Normalization::LayerNorm, Normalization::None).targets(&half).unwrap();
        assert_eq!(got.kind(), Kind::Float, "kind");
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let average = rule(3, Normalization::LayerNorm, Normalization::None);
        assert!(average.targets(&layers(2)).is_err(), "too few");
        let ragged = [layers(2), vec![layers(1)[0].narrow(1, 0, 3)]].concat_tensors();
        assert!(average.targets(&ragged).is_err(), "ragged");
        assert!(average.validate(2).is_err() && average.validate(3).is_ok(), "depth");
        assert!(rule(0, Normalization::None, Normalization::None).validate(3).is_err(), "K = 0");
    }

    trait ConcatTensors {
        fn concat_tensors(self) -> Vec<Tensor>;
    }

    impl ConcatTensors for [Vec<Tensor>; 2] {
        fn concat_tensors(self) -> Vec<Tensor> {
            self.into_iter().flatten().collect()
        }
    }
}

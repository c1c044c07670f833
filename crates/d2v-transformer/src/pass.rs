//! Training or evaluation, and the randomness of a training pass.

use d2v_torch::seed::unit;
use tch::{Kind, Tensor};

/// How the network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// No dropout of any kind: teacher, evaluation.
    Eval,
    /// With the configured dropouts. Dropout and drop path draw from libtorch's generator, which the caller seeds per
    /// step; `key` (a mix of seed and step) decides which blocks layer drop leaves out, on the host.
    Train {
        /// Mix of everything the pass belongs to.
        key: u64,
    },
}

impl Pass {
    /// Whether this is a training pass.
    pub fn is_training(self) -> bool {
        matches!(self, Pass::Train { .. })
    }

    /// Whether layer drop with this rate leaves block `index` out.
    pub(crate) fn drops_layer(self, index: usize, rate: f64) -> bool {
        match self {
            Pass::Train { key } => rate > 0.0 && unit(&[key, index as u64]) < rate,
            Pass::Eval => false,
        }
    }

    /// Element-wise dropout.
    pub(crate) fn dropout(self, x: Tensor, rate: f64) -> Tensor {
        if rate > 0.0 && self.is_training() { x.dropout(rate, true) } else { x }
    }

    /// Drop path: zeroes the branch for a whole sample and scales the others up by `1 / (1 - rate)`.
    ///
    /// `samples` is the number of samples in the batch; `sample_m`, where rows were chosen, the sample of each row.
    pub(crate) fn drop_path(
        self,
        branch: Tensor,
        rate: f64,
        samples: i64,
        sample_m: Option<&Tensor>,
    ) -> Tensor {
        if rate == 0.0 || !self.is_training() {
            return branch;
        }
        let kept_b = Tensor::rand([samples], (Kind::Float, branch.device())).ge(rate).to_kind(branch.kind())
            / (1.0 - rate);
        match sample_m {
            Some(sample_m) => branch * kept_b.index_select(0, sample_m).unsqueeze(-1),
            None => branch * kept_b.view([samples, 1, 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::seed::seeded;
    use tch::Device;

    #[test]
    fn drop_path_keeps_whole_samples_and_the_mean() {
        let (rate, samples) = (0.3, 20_000);
        let ones = Tensor::ones([samples, 2, 3], (Kind::Float, Device::Cpu));
        let out =
            seeded(&[5], || Pass::Train { key: 0 }.drop_path(ones.shallow_clone(), rate, samples, None));
        let per_sample = out.amin([1, 2], false);
        assert!(per_sample.equal(&out.amax([1, 2], false)), "a sample was split");
        let mean = out.mean(Kind::Double).double_value(&[]);
        // Standard error of a Bernoulli(0.7) mean, divided by 0.7.
        let bound = 5.0 * (rate / (1.0 - rate) / samples as f64).sqrt();
        assert!((mean - 1.0).abs() < bound, "mean {mean}");
        assert!(Pass::Eval.drop_path(ones.shallow_clone(), rate, samples, None).equal(&ones), "evaluation");
    }

    #[test]
    fn chosen_rows_follow_their_samples() {
        let sample_m = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 2]);
        let ones = Tensor::ones([6, 4], (Kind::Float, Device::Cpu));
        for key in 0..20 {
            let pass = Pass::Train { key };
            let out = seeded(&[key], || pass.drop_path(ones.shallow_clone(), 0.5, 3, Some(&sample_m)));
            let row = |i: i64| out.get(i);
            assert!(
                row(0).equal(&row(1)) && row(2).equal(&row(3)) && row(3).equal(&row(4)),
                "rows of one sample"
            );
        }
    }

    #[test]
    fn layers_are_dropped_at_the_rate() {
        let n = 20_000usize;
        let dropped =
            (0..n).filter(|&i| Pass::Train { key: 9 }.drops_layer(i, 0.05)).count() as f64 / n as f64;
        assert!((dropped - 0.05).abs() < 5.0 * (0.05 * 0.95 / n as f64).sqrt(), "{dropped}");
        assert!(!Pass::Eval.drops_layer(0, 0.99), "evaluation");
    }
}

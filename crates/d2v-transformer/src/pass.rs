//! Training or evaluation, and the randomness of a training pass.

use crate::Result;
use d2v_torch::attention::Dropout;
use d2v_torch::seed::{mix, unit};
use d2v_torch::upload::queued;
use tch::Tensor;

/// How the network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// No dropout of any kind: teacher, evaluation.
    Eval,
    /// With the configured dropouts. Dropout draws from libtorch's generator, which the caller seeds per step; `key`
    /// (a mix of seed and step) decides which blocks layer drop and which branches drop path leave out, on the host.
    Train {
        /// Mix of everything the pass belongs to.
        key: u64,
        /// Whether the backward pass makes the inside of each block again instead of keeping it: a third more
        /// arithmetic, far less memory, the same bits.
        recompute: bool,
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
            Pass::Train { key, .. } => rate > 0.0 && unit(&[key, index as u64]) < rate,
            Pass::Eval => false,
        }
    }

    /// Element-wise dropout.
    pub(crate) fn dropout(self, x: Tensor, rate: f64) -> Tensor {
        if rate > 0.0 && self.is_training() { x.dropout(rate, true) } else { x }
    }

    /// Dropout of the attention weights of block `index`.
    pub(crate) fn attention_dropout(self, rate: f64, index: usize) -> Option<Dropout> {
        match self {
            Pass::Train { key, .. } if rate > 0.0 => {
                Some(Dropout { rate, key: mix(&[key, index as u64, 2]) })
            }
            _ => None,
        }
    }

    /// Drop path (stochastic depth): the factor of each sample's branch, 0 with probability `rate` and else
    /// `1 / (1 - rate)`; `None` where nothing is dropped.
    ///
    /// Drawn on the host from the pass's key, the block and which of its branches it is, so that neither other
    /// threads nor the kind of device change it. Shape `[B, 1, 1]`, or `[M, 1]` with `sample_m`, the sample of each
    /// chosen row. A device is not waited for.
    ///
    /// # Errors
    /// If the device's memory is exhausted.
    pub(crate) fn kept_paths(
        self,
        rate: f64,
        place: BranchPlace,
        like: &Tensor,
        sample_m: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let Pass::Train { key, .. } = self else { return Ok(None) };
        if rate == 0.0 {
            return Ok(None);
        }
        let factor = |sample: i64| {
            let draw = unit(&[key, place.block as u64, place.branch as u64, sample as u64]);
            if draw < rate { 0.0 } else { (1.0 / (1.0 - rate)) as f32 }
        };
        let kept: Vec<f32> = (0..place.samples).map(factor).collect();
        let kept_b = queued(&Tensor::from_slice(&kept).to_kind(like.kind()), like.device())?;
        Ok(Some(match sample_m {
            Some(sample_m) => kept_b.index_select(0, sample_m).unsqueeze(-1),
            None => kept_b.view([-1, 1, 1]),
        }))
    }
}

/// A branch of a block, and how many samples pass through it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BranchPlace {
    /// Index of the block.
    pub block: usize,
    /// 0 attention, 1 feed-forward.
    pub branch: usize,
    /// Samples in the batch.
    pub samples: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const HOST: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn train(key: u64) -> Pass {
        Pass::Train { key, recompute: false }
    }

    fn kept(pass: Pass, rate: f64, place: BranchPlace, sample_m: Option<&Tensor>) -> Option<Tensor> {
        pass.kept_paths(rate, place, &Tensor::zeros([1], HOST), sample_m).unwrap()
    }

    #[test]
    fn drop_path_keeps_the_mean() {
        let (rate, samples) = (0.3, 20_000);
        let place = BranchPlace { block: 3, branch: 1, samples };
        let kept_b11 = kept(train(5), rate, place, None).unwrap();
        assert_eq!(kept_b11.size(), [samples, 1, 1]);
        let either = kept_b11.eq(0.0).logical_or(&kept_b11.eq((1.0 / (1.0 - rate)) as f32 as f64));
        assert!(bool::try_from(either.all()).unwrap(), "neither dropped nor scaled up");
        let mean = kept_b11.mean(Kind::Double).double_value(&[]);
        // Standard error of a Bernoulli(0.7) mean, divided by 0.7.
        let bound = 5.0 * (rate / (1.0 - rate) / samples as f64).sqrt();
        assert!((mean - 1.0).abs() < bound, "mean {mean}");
        assert!(kept(Pass::Eval, rate, place, None).is_none(), "evaluation");
        assert!(kept(train(5), 0.0, place, None).is_none(), "rate 0");
    }

    #[test]
    fn branches_and_passes_are_dropped_on_their_own() {
        let draw = |key, block, branch| {
            let place = BranchPlace { block, branch, samples: 200 };
            kept(train(key), 0.5, place, None).unwrap()
        };
        let one = draw(1, 2, 0);
        assert!(one.equal(&draw(1, 2, 0)), "the same place");
        for (other, what) in [(draw(1, 2, 1), "branch"), (draw(1, 3, 0), "block"), (draw(2, 2, 0), "pass")] {
            // Independent fair coins agree in 100 of 200, standard deviation 7.
            let agree = one.eq_tensor(&other).sum(Kind::Int64).int64_value(&[]);
            assert!((65..=135).contains(&agree), "another {what} agrees in {agree} of 200");
        }
    }

    #[test]
    fn chosen_rows_follow_their_samples() {
        let sample_m = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 2]);
        for key in 0..20 {
            let place = BranchPlace { block: 0, branch: 0, samples: 3 };
            let kept_b = kept(train(key), 0.5, place, None).unwrap().view([3]);
            let kept_m1 = kept(train(key), 0.5, place, Some(&sample_m)).unwrap();
            assert!(kept_m1.equal(&kept_b.index_select(0, &sample_m).unsqueeze(-1)), "rows of one sample");
        }
    }

    #[test]
    fn layers_are_dropped_at_the_rate() {
        let n = 20_000usize;
        let dropped = (0..n).filter(|&i| train(9).drops_layer(i, 0.05)).count() as f64 / n as f64;
        assert!((dropped - 0.05).abs() < 5.0 * (0.05 * 0.95 / n as f64).sqrt(), "{dropped}");
        assert!(!Pass::Eval.drops_layer(0, 0.99), "evaluation");
    }
}

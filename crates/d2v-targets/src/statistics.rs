//! Numbers that show whether a representation is alive: spread, rank, what position and what the student explain.
//!
//! A collapsed run can have a falling loss, and targets and predictions of healthy spread. It then shows in the
//! effective rank, in the share of the targets that position alone explains, and in predictions no better than that
//! share. So there are several numbers here, and `d2v-train` judges them together.
//!
//! Everything is a pure function of tensors: no gradient is recorded, nothing is changed, and the answer is an `f64`
//! read back from the device at once. Sums are taken in f64 whatever the input's kind, so that a constant is seen as
//! constant. Shapes are named by suffix: B samples, L positions, D width, N rows of any origin, M hidden positions of
//! the batch.
//!
//! **Non-finite input gives NaN**, never a number that could pass for healthy. A statistic that is undefined for the
//! values given (a share of no variance at all) is NaN as well; each function says when. Where the *shape* leaves it
//! undefined (one sample, one position) the answer is [`Error::TooFew`].

mod cosine;
mod distance;
mod rank;
mod share;
mod spread;

pub use cosine::{adjacent_cosine, mean_sample_cosine, mean_token_cosine};
pub use distance::relative_distance;
pub use rank::{MAX_RANK_ROWS, effective_rank, rank_limit};
pub use share::{position_share, predict_zero_ratio, r2};
pub use spread::{sequence_std, token_std};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// A variance below this share of the mean square is what rounding leaves of a constant, not variation.
const ROUNDING_SHARE: f64 = 1e-24;

/// How alive one place of the network is: the statistics that make sense for any tensor of tokens.
///
/// Taken of the front end's output, of each block's output, of the teacher's layers before they are normalised, and of
/// the predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageStatistics {
    /// [`sequence_std`], in the tensor's own units: at least 0.
    pub raw_std: f64,
    /// [`effective_rank`]: 0 for a constant, else from 1 to [`rank_limit`].
    pub effective_rank: f64,
    /// [`mean_token_cosine`]: -1 to 1; `None` when there is a single position.
    pub token_cosine: Option<f64>,
    /// [`mean_sample_cosine`]: -1 to 1; `None` when there is a single sample.
    pub sample_cosine: Option<f64>,
}

impl StageStatistics {
    /// Measures `x_bld`, samples by positions by width.
    ///
    /// Predictions at hidden positions, whose number differs between samples, are measured as a single sequence:
    /// `x_md.unsqueeze(0)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless `x_bld` has three dimensions, none of them empty; [`Error::TooFew`] if it has a single
    /// token in all.
    pub fn measure(x_bld: &Tensor) -> Result<Self> {
        let (samples, positions, width) = size_bld("StageStatistics::measure", x_bld)?;
        let x_nd = x_bld.reshape([samples * positions, width]);
        Ok(Self {
            raw_std: sequence_std(x_bld)?,
            effective_rank: effective_rank(&x_nd)?,
            token_cosine: (positions > 1).then(|| mean_token_cosine(x_bld)).transpose()?,
            sample_cosine: (samples > 1).then(|| mean_sample_cosine(x_bld)).transpose()?,
        })
    }
}

/// The sizes of a tensor of rows by width, neither of them empty.
fn size_nd(what: &'static str, x_nd: &Tensor) -> Result<(i64, i64)> {
    match x_nd.size()[..] {
        [rows, width] if rows > 0 && width > 0 => Ok((rows, width)),
        _ => Err(Error::Shape { what, expected: "[N, D], not empty".to_owned(), got: x_nd.size() }),
    }
}

/// The sizes of a tensor of samples by positions by width, none of them empty.
fn size_bld(what: &'static str, x_bld: &Tensor) -> Result<(i64, i64, i64)> {
    match x_bld.size()[..] {
        [samples, positions, width] if samples > 0 && positions > 0 && width > 0 => {
            Ok((samples, positions, width))
        }
        _ => Err(Error::Shape { what, expected: "[B, L, D], not empty".to_owned(), got: x_bld.size() }),
    }
}

/// Refuses fewer than `needed` of a thing that a statistic runs over.
fn at_least(needed: i64, got: i64, unit: &'static str, what: &'static str) -> Result<()> {
    if got < needed { Err(Error::TooFew { what, unit, needed, got }) } else { Ok(()) }
}

/// Refuses two tensors of different shape.
fn same_size(what: &'static str, x: &Tensor, expected: &Tensor) -> Result<()> {
    if x.size() == expected.size() {
        Ok(())
    } else {
        Err(Error::Shape { what, expected: format!("{:?}", expected.size()), got: x.size() })
    }
}

/// `x` in f64 and cut off from the graph.
fn detached_f64(x: &Tensor) -> Tensor {
    x.detach().to_kind(Kind::Double)
}

/// Several scalars of one device in a single read.
fn read<const N: usize>(scalars: [&Tensor; N]) -> [f64; N] {
    let on_cpu = Tensor::stack(&scalars, 0).to_device(Device::Cpu);
    std::array::from_fn(|i| on_cpu.double_value(&[i as i64]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    /// Standard normal values in f64. libtorch's own generator is shared by all test threads, so not repeatable.
    pub(super) fn normal<const N: usize>(seed: u64, size: [i64; N]) -> Tensor {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let count = size.iter().product::<i64>() as usize;
        let values: Vec<f64> = StandardNormal.sample_iter(rng).take(count).collect();
        Tensor::from_slice(&values).reshape(size)
    }

    /// 64 cases, or as many as the environment asks for.
    pub(super) fn cases() -> ProptestConfig {
        match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default(),
            None => ProptestConfig::with_cases(64),
        }
    }

    #[test]
    fn a_stage_of_one_sample_has_no_sample_cosine() {
        let x_bld = normal(1, [1, 9, 4]).to_kind(Kind::Float);
        let stage = StageStatistics::measure(&x_bld).unwrap();
        assert_eq!(stage.sample_cosine, None, "one sample has no other to be compared with");
        assert!(stage.token_cosine.is_some(), "nine positions have neighbours");
    }

    #[test]
    fn a_stage_with_nan_is_nan_throughout() {
        let x_bld = Tensor::ones([2, 3, 4], (Kind::Float, Device::Cpu));
        let _ = x_bld.select(0, 0).select(0, 1).fill_(f64::NAN);
        let stage = StageStatistics::measure(&x_bld).unwrap();
        assert!(stage.raw_std.is_nan() && stage.effective_rank.is_nan(), "{stage:?}");
        assert!(stage.token_cosine.unwrap().is_nan() && stage.sample_cosine.unwrap().is_nan(), "{stage:?}");
    }

    #[test]
    fn a_wrong_shape_is_named() {
        let error = StageStatistics::measure(&Tensor::ones([3, 4], (Kind::Float, Device::Cpu))).unwrap_err();
        assert_eq!(error.to_string(), "StageStatistics::measure: expected [B, L, D], not empty, got [3, 4]");
    }

    #[test]
    fn nothing_is_recorded_and_nothing_changed() {
        let x_bld = normal(1, [2, 5, 3]).to_kind(Kind::Float).set_requires_grad(true);
        let before = x_bld.detach().copy();
        StageStatistics::measure(&x_bld).unwrap();
        position_share(&x_bld).unwrap();
        assert_eq!(x_bld.detach(), before, "the input is only read");
        assert!(!x_bld.grad().defined(), "no gradient is made");
    }
}

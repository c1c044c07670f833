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
mod group;
mod rank;
mod share;
mod spread;

pub use cosine::{adjacent_cosine, mean_group_cosine, mean_sample_cosine, mean_token_cosine};
pub use distance::relative_distance;
pub use rank::{MAX_RANK_ROWS, effective_rank, rank_limit};
pub use share::{group_share, position_share, predict_zero_ratio, r2};
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
    /// [`position_share`]: at most 1; `None` when there is a single sample.
    pub position_share: Option<f64>,
}

impl StageStatistics {
    /// Measures `x_bld`, samples by positions by width.
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
            position_share: (samples > 1).then(|| position_share(x_bld)).transpose()?,
        })
    }

    /// Measures rows at hidden positions, `x_md`, whose number differs between samples: `hidden_m` are their int64 indices
    /// into samples times `positions`.
    ///
    /// Deviation and token cosine are over all rows, as of a single sequence; samples are told apart by the means of their
    /// rows. What the hiding leaves undefined, such as the share of position where each is hidden once, is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless `x_md` has two dimensions, neither empty, and `hidden_m` one index per row;
    /// [`Error::TooFew`] for a single row.
    pub fn measure_hidden(x_md: &Tensor, hidden_m: &Tensor, positions: i64) -> Result<Self> {
        let defined = |measured: Result<f64>| match measured {
            Err(Error::TooFew { .. }) => Ok(None),
            measured => measured.map(Some),
        };
        let sample_m = hidden_m.divide_scalar_mode(positions, "floor");
        Ok(Self {
            sample_cosine: defined(mean_group_cosine(x_md, &sample_m))?,
            position_share: defined(group_share(x_md, &hidden_m.remainder(positions)))?,
            ..Self::measure(&x_md.unsqueeze(0))?
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
    fn hidden_rows_know_their_sample_and_position() {
        // The same at a position whatever the sample; three samples of which each hides other positions.
        let value_ld = normal(2, [4, 16]);
        let hidden_m = Tensor::from_slice(&[0i64, 2, 4, 5, 6, 10, 11]);
        let x_md = value_ld.index_select(0, &hidden_m.remainder(4));
        let stage = StageStatistics::measure_hidden(&x_md, &hidden_m, 4).unwrap();
        assert!((stage.position_share.unwrap() - 1.0).abs() < 1e-12, "{stage:?}");
        let mean =
            |rows: &[i64]| value_ld.index_select(0, &Tensor::from_slice(rows)).mean_dim(0i64, false, None);
        let mean_3d = Tensor::stack(&[mean(&[0, 2]), mean(&[0, 1, 2]), mean(&[2, 3])], 0);
        let expected = mean_sample_cosine(&mean_3d.unsqueeze(1)).unwrap();
        assert!((stage.sample_cosine.unwrap() - expected).abs() < 1e-12, "{stage:?}, expected {expected}");

        // Of one sample, each position hidden once, neither is defined.
        let once_m = Tensor::from_slice(&[1i64, 3]);
        let stage = StageStatistics::measure_hidden(&normal(3, [2, 16]), &once_m, 4).unwrap();
        assert_eq!((stage.sample_cosine, stage.position_share), (None, None));
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

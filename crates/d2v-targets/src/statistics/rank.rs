//! In how many directions tokens vary: the effective rank.

use tch::{Device, Kind, Tensor};

use super::{ROUNDING_SHARE, at_least, detached_f64, read, size_nd};
use crate::Result;

/// The most rows that [`effective_rank`] looks at.
///
/// The eigenvalues of a 512 x 512 matrix take about a tenth of a second on one CPU core, and are only needed for
/// networks at least as wide, whose step takes seconds there; at width 128 it is milliseconds. A rank that matters
/// to the watch, below about a hundred, is well seen in 512 rows.
pub const MAX_RANK_ROWS: i64 = 512;

/// The largest value that [`effective_rank`] can take for `rows` tokens of `width` features.
///
/// The width, or the rows looked at less one, which centring takes.
pub fn rank_limit(rows: i64, width: i64) -> i64 {
    width.min(rows.min(MAX_RANK_ROWS) - 1)
}

/// The effective rank of the covariance of tokens: the exponential of the entropy of its eigenvalues.
///
/// With the eigenvalues `v_i` of the covariance over the N tokens and `p_i = v_i / sum v`, this is
/// `exp(-sum p_i ln p_i)` (Roy and Vetterli 2007, there of singular values): r equally strong directions give r,
/// whatever their scale, and rotating or shifting the tokens changes nothing. From 1 to [`rank_limit`]; 0 if all tokens
/// are equal up to rounding; NaN if any value is not finite.
///
/// Of more than [`MAX_RANK_ROWS`] rows a fixed choice is looked at, spread evenly over samples and over positions.
/// The eigenvalues are those of the smaller of `x x^T` and `x^T x`, in f64 and always on the CPU, so that the same
/// rows give the same bits wherever the network runs.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_nd` has two dimensions, neither empty; [`crate::Error::TooFew`] below two tokens;
/// [`crate::Error::Tch`] if the eigenvalues cannot be found.
pub fn effective_rank(x_nd: &Tensor) -> Result<f64> {
    const WHAT: &str = "effective_rank";
    let (rows, width) = size_nd(WHAT, x_nd)?;
    at_least(2, rows, "tokens", WHAT)?;
    // A value that is not finite must be seen even in a row that is not looked at.
    if !x_nd.detach().sum(Kind::Double).double_value(&[]).is_finite() {
        return Ok(f64::NAN);
    }
    let x_nd = detached_f64(&spread_rows(x_nd, rows)).to_device(Device::Cpu);
    let centred_nd = &x_nd - x_nd.mean_dim(0i64, true, None);
    let [total, magnitude] = read([&centred_nd.square().sum(None), &x_nd.square().sum(None)]);
    if !magnitude.is_finite() {
        return Ok(f64::NAN);
    }
    if total <= ROUNDING_SHARE * magnitude {
        return Ok(0.0);
    }
    // Scaled to unit trace first: the square of very large or very small values would leave the range of f64.
    let unit_nd = centred_nd / total.sqrt();
    let gram = if width <= unit_nd.size()[0] {
        unit_nd.tr().matmul(&unit_nd)
    } else {
        unit_nd.matmul(&unit_nd.tr())
    };
    let eigenvalues = gram.f_linalg_eigvalsh("L")?;
    let shares = eigenvalues.clamp_min(0.0);
    let shares = &shares / shares.sum(None);
    // `xlogy` is 0 at 0, as the entropy's limit is.
    let [entropy] = read([&-shares.xlogy(&shares).sum(None)]);
    Ok(entropy.exp())
}

/// At most [`MAX_RANK_ROWS`] rows, the same for the same number of rows.
///
/// Rows come sample by sample, so an even stride can hit the same positions again and again. A stride near the golden
/// section, without a common factor with the number of rows, visits rows all over the batch and, where the length of
/// a sequence divides their number, every position equally often.
fn spread_rows(x_nd: &Tensor, rows: i64) -> Tensor {
    if rows <= MAX_RANK_ROWS {
        return x_nd.shallow_clone();
    }
    const GOLDEN_SECTION: f64 = 0.618_033_988_749_894_8;
    let first_guess = (rows as f64 * GOLDEN_SECTION) as i64;
    let stride = (first_guess..).find(|&s| gcd(s, rows) == 1).unwrap_or(1);
    let index = Tensor::arange(MAX_RANK_ROWS, (Kind::Int64, x_nd.device())) * stride;
    x_nd.detach().index_select(0, &index.remainder(rows))
}

/// The greatest common divisor of two positive numbers.
fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::tests::{cases, normal};
    use super::*;

    fn check_rank(what: &str, x_nd: &Tensor, want: f64, tolerance: f64) {
        let got = effective_rank(x_nd).unwrap();
        assert!((got - want).abs() <= tolerance, "{what}: got {got}, want {want} within {tolerance}");
    }

    /// Rows whose covariance has `rank` equal eigenvalues: +1 and -1 along each of the first `rank` axes, rotated.
    fn planted(seed: u64, rank: i64, width: i64) -> Tensor {
        let options = (Kind::Double, Device::Cpu);
        let axes = Tensor::eye(width, options).narrow(0, 0, rank);
        let (rotation, _) = Tensor::linalg_qr(&normal(seed, [width, width]), "reduced");
        Tensor::cat(&[&axes, &-&axes], 0).matmul(&rotation)
    }

    #[test]
    fn a_constant_varies_in_no_direction() {
        let constant = Tensor::from_slice(&[0.1f32, -7.3, 1e6]).expand([40, 3], true);
        check_rank("constant", &constant, 0.0, 0.0);
        check_rank("zero", &Tensor::zeros([40, 3], (Kind::Float, Device::Cpu)), 0.0, 0.0);
    }

    #[test]
    fn eigenvalues_three_to_one_by_hand() {
        // Squares 3 and 1 along two axes: p = 3/4, 1/4.
        let x_nd = Tensor::from_slice(&[3f64.sqrt(), 0.0, -(3f64.sqrt()), 0.0, 0.0, 1.0, 0.0, -1.0]);
        let want = (-(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
        check_rank("three to one", &x_nd.reshape([4, 2]), want, 1e-12);
    }

    #[test]
    fn the_extremes_of_f32_do_not_overflow() {
        let x_nd = planted(1, 5, 8);
        check_rank("large", &(&x_nd * 1e37).to_kind(Kind::Float), 5.0, 1e-4);
        check_rank("small", &(&x_nd * 1e-30).to_kind(Kind::Float), 5.0, 1e-4);
    }

    #[test]
    fn position_only_rows_keep_their_rank_when_thinned() {
        // 64 samples of 64 positions, each position its own axis: a stride of 8 would see eight axes only.
        let x_nd = Tensor::eye(64, (Kind::Float, Device::Cpu)).repeat([64, 1]);
        check_rank("64 positions", &x_nd, 63.0, 1e-6);
    }

    #[test]
    fn a_bad_value_in_a_row_not_looked_at_is_reported() {
        for row in [0, 1, 700, 1999] {
            let x_nd = normal(1, [2000, 4]).to_kind(Kind::Float);
            let _ = x_nd.get(row).fill_(f64::NAN);
            assert!(effective_rank(&x_nd).unwrap().is_nan(), "row {row}");
        }
    }

    #[test]
    fn both_sides_of_the_gram_matrix_agree() {
        // 40 rows of width 30 take the width's side; zero columns added make it the rows' side.
        let x_nd = normal(1, [40, 30]);
        let wide = Tensor::cat(&[&x_nd, &x_nd.zeros_like()], 1);
        check_rank("rows' side", &wide, effective_rank(&x_nd).unwrap(), 1e-9);
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn a_planted_rank_is_found(
            seed in 0u64..1_000_000, width in 2i64..40, part in 0.0f64..1.0,
            scale in 1e-3f64..1e3, shift in -1.0f64..1.0,
        ) {
            let rank = 1 + (part * (width - 1) as f64) as i64;
            let got = effective_rank(&(planted(seed, rank, width) * scale + shift)).unwrap();
            prop_assert!((got - rank as f64).abs() < 1e-6, "planted {rank}, got {got}");
        }

        #[test]
        fn it_lies_between_one_and_its_limit(seed in 0u64..1_000_000, rows in 2i64..900, width in 1i64..24) {
            let got = effective_rank(&normal(seed, [rows, width]).to_kind(Kind::Float)).unwrap();
            let limit = rank_limit(rows, width) as f64;
            prop_assert!((1.0 - 1e-9..=limit + 1e-9).contains(&got), "{got} of {limit}");
        }

        #[test]
        fn rows_looked_at_are_distinct(rows in MAX_RANK_ROWS + 1..5000) {
            let picked = spread_rows(&Tensor::arange(rows, (Kind::Int64, Device::Cpu)), rows);
            let distinct: BTreeSet<i64> = Vec::try_from(&picked).unwrap().into_iter().collect();
            prop_assert_eq!(distinct.len() as i64, MAX_RANK_ROWS);
        }
    }
}

//! How much of the targets is explained: by position alone, and by the student.

use tch::Tensor;

use super::group::Groups;
use super::{ROUNDING_SHARE, at_least, detached_f64, read, same_size, size_bld, size_nd};
use crate::{LossConfig, Result};

/// The share of the variance of `x_bld` that knowing the position explains, free of the bias of a small batch.
///
/// A teacher that says the same at a position whatever the sample is collapsed, though its spread and the student's
/// loss look healthy. The plain share is `S = (variance of the per-position mean over the batch) / (total variance)`,
/// both summed over features. That mean is noisy: for targets that position says nothing about, `S` comes out at about
/// `1 / B`. Returned is the analysis of variance's unbiased estimate (epsilon squared, Kelley 1935),
///
/// `S - (1 - S) (L - 1) / (L (B - 1))`,
///
/// 1 if position explains everything, 0 on average if it explains nothing, so a little negative at times; at most 1.
/// Compared with the plain share it lowers 0.7 at batch 16 to 0.68, and 0.16 to 0.10. It is then on the same
/// footing as [`r2`]: a student below it has learned less than the mean of each position.
///
/// NaN if `x_bld` is constant, or holds a value that is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_bld` has three dimensions, none of them empty; [`crate::Error::TooFew`] below
/// two samples.
pub fn position_share(x_bld: &Tensor) -> Result<f64> {
    const WHAT: &str = "position_share";
    let (samples, positions, _) = size_bld(WHAT, x_bld)?;
    at_least(2, samples, "samples", WHAT)?;
    let x_bld = detached_f64(x_bld);
    let mean_ld = x_bld.mean_dim(0i64, false, None);
    let mean_d = mean_ld.mean_dim(0i64, false, None);
    let [between, total, magnitude] = read([
        &(mean_ld - &mean_d).square().mean(None),
        &(&x_bld - &mean_d).square().mean(None),
        &x_bld.square().mean(None),
    ]);
    let share = share_of(between, total, magnitude);
    let (b, l) = (samples as f64, positions as f64);
    Ok(share - (1.0 - share) * (l - 1.0) / (l * (b - 1.0)))
}

/// The share of the variance of `x_nd` that knowing a row's group explains: [`position_share`] of rows of which each
/// position has its own number, so that hidden positions can be measured.
///
/// `group_n` holds each row's group as int64, at least 0; numbers that no row has do not matter. With N rows in k groups
/// the estimate is `S - (1 - S) (k - 1) / (N - k)`, which for equal groups is that of [`position_share`]. NaN as there.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_nd` has two dimensions, neither empty, and `group_n` one number per row;
/// [`crate::Error::TooFew`] unless some rows share a group.
pub fn group_share(x_nd: &Tensor, group_n: &Tensor) -> Result<f64> {
    const WHAT: &str = "group_share";
    let (rows, _) = size_nd(WHAT, x_nd)?;
    let x_nd = detached_f64(x_nd);
    let groups = Groups::of(WHAT, &x_nd, group_n)?;
    let count = groups.count();
    at_least(count + 1, rows, "rows", WHAT)?;
    let mean_d = x_nd.mean_dim(0i64, false, None);
    let apart_g = (&groups.mean_gd - &mean_d).square().mean_dim(1i64, false, None);
    let [between, total, magnitude] = read([
        &((apart_g * &groups.rows_g).sum(None) / rows as f64),
        &(&x_nd - &mean_d).square().mean(None),
        &x_nd.square().mean(None),
    ]);
    let share = share_of(between, total, magnitude);
    Ok(share - (1.0 - share) * (count - 1) as f64 / (rows - count) as f64)
}

/// The share of the targets' variance that the predictions explain: `1 - MSE / variance`.
///
/// The variance is taken over the M rows for each feature and summed over features, as the squared error is: 0 is what
/// predicting the mean of the rows gives, 1 a perfect prediction; there is no lower bound. NaN if the targets are
/// constant (there is nothing to explain), or if any value is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless both tensors have the same two dimensions, neither empty; [`crate::Error::TooFew`]
/// below two rows.
pub fn r2(predictions_md: &Tensor, targets_md: &Tensor) -> Result<f64> {
    const WHAT: &str = "r2";
    let (rows, _) = size_nd(WHAT, targets_md)?;
    same_size(WHAT, predictions_md, targets_md)?;
    at_least(2, rows, "rows", WHAT)?;
    let targets_md = detached_f64(targets_md);
    let [error, total, magnitude] = read([
        &(detached_f64(predictions_md) - &targets_md).square().mean(None),
        &(&targets_md - targets_md.mean_dim(0i64, true, None)).square().mean(None),
        &targets_md.square().mean(None),
    ]);
    Ok(1.0 - share_of(error, total, magnitude))
}

/// The loss of the predictions over the loss of predicting zero.
///
/// The second is what a student gets for saying nothing: near 1 it has learned nothing beyond the scale of the
/// targets, above 1 it does harm. NaN if saying nothing is free (the targets are all zero), or if a loss is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless both tensors have the same two dimensions, neither empty.
pub fn predict_zero_ratio(loss: &LossConfig, predictions_md: &Tensor, targets_md: &Tensor) -> Result<f64> {
    size_nd("predict_zero_ratio", targets_md)?;
    let (predictions_md, targets_md) = (detached_f64(predictions_md), detached_f64(targets_md));
    let [got, saying_nothing] =
        read([&loss.sum(&predictions_md, &targets_md)?, &loss.sum(&targets_md.zeros_like(), &targets_md)?]);
    Ok(if saying_nothing > 0.0 && saying_nothing.is_finite() { got / saying_nothing } else { f64::NAN })
}

/// `part / total`, or NaN where the total is not finite or no more than what rounding leaves of a constant.
fn share_of(part: f64, total: f64, magnitude: f64) -> f64 {
    if total.is_finite() && total > ROUNDING_SHARE * magnitude { part / total } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::{Device, Kind};

    use crate::{LossKind, LossScale};

    use super::super::tests::{cases, normal};
    use super::*;

    fn check_near(what: &str, got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{what}: got {got}, want {want} within {tolerance}");
    }

    #[test]
    fn targets_of_position_only_have_share_one() {
        let x_bld = normal(1, [1, 7, 5]).expand([4, 7, 5], false);
        check_near("position only", position_share(&x_bld).unwrap(), 1.0, 1e-12);
    }

    #[test]
    fn targets_of_the_sample_only_have_no_share_of_position() {
        let x_bld = normal(1, [4, 1, 5]).expand([4, 7, 5], false);
        // S is 0, so what is left is the correction: -(6 / 7) / 3.
        check_near("sample only", position_share(&x_bld).unwrap(), -6.0 / 21.0, 1e-12);
    }

    #[test]
    fn a_planted_share_is_found_without_bias_at_any_batch() {
        // Position variance 3, noise variance 1. One draw of 16 x 8 effects and their noise errs by about 0.06, the
        // mean of 200 by 0.004; uncorrected, a batch of 2 would give 0.87.
        for samples in [2, 4, 64] {
            let draw = |seed: u64| {
                let position = normal(2 * seed, [1, 16, 8]) * 3f64.sqrt();
                position_share(&(position + normal(2 * seed + 1, [samples, 16, 8]))).unwrap()
            };
            let mean = (0..200).map(draw).sum::<f64>() / 200.0;
            check_near(&format!("planted 0.75 at batch {samples}"), mean, 0.75, 0.015);
        }
    }

    #[test]
    fn noise_has_no_share_even_in_a_batch_of_two() {
        // Uncorrected this would be 0.5. One draw of 64 x 32 contrasts errs by about 0.02.
        let share = position_share(&normal(1, [2, 64, 32])).unwrap();
        check_near("noise", share, 0.0, 0.08);
    }

    #[test]
    fn one_sample_is_refused() {
        let error = position_share(&normal(1, [1, 4, 4])).unwrap_err();
        assert_eq!(error.to_string(), "position_share needs at least 2 samples, got 1");
    }

    #[test]
    fn shares_of_a_constant_are_undefined() {
        let constant = Tensor::full([3, 4, 5], 0.1, (Kind::Float, Device::Cpu));
        assert!(position_share(&constant).unwrap().is_nan(), "no variance to share");
        let rows = constant.reshape([12, 5]);
        assert!(r2(&rows, &rows).unwrap().is_nan(), "nothing to explain, however right the predictions");
    }

    #[test]
    fn predicting_the_mean_has_r2_zero_and_the_truth_one() {
        let targets = normal(1, [50, 6]) + 3.0;
        let mean = targets.mean_dim(0i64, true, None).expand_as(&targets);
        check_near("mean predictor", r2(&mean, &targets).unwrap(), 0.0, 1e-12);
        check_near("truth", r2(&targets, &targets).unwrap(), 1.0, 0.0);
        // Off by one target deviation more than the mean predictor: error is twice the variance.
        let mirrored = &mean * 2.0 - &targets;
        check_near("mirrored", r2(&mirrored, &targets).unwrap(), -3.0, 1e-9);
    }

    #[test]
    fn bad_values_are_reported() {
        let good = normal(1, [8, 3]);
        for bad in [f64::NAN, f64::INFINITY] {
            let spoiled = good.copy();
            let _ = spoiled.get(2).get(1).fill_(bad);
            assert!(!r2(&spoiled, &good).unwrap().is_finite(), "predictions with {bad}");
            assert!(r2(&good, &spoiled).unwrap().is_nan(), "targets with {bad}");
            assert!(position_share(&spoiled.reshape([2, 4, 3])).unwrap().is_nan(), "share with {bad}");
        }
    }

    #[test]
    fn the_ratio_to_saying_nothing_by_hand() {
        let loss = LossConfig { element: LossKind::L2 {}, scale: LossScale::InverseWidth };
        let targets = Tensor::from_slice(&[2.0, -2.0]).reshape([2, 1]);
        let ratio = |factor: f64| predict_zero_ratio(&loss, &(&targets * factor), &targets).unwrap();
        check_near("half way", ratio(0.5), 0.25, 1e-12);
        check_near("zero", ratio(0.0), 1.0, 0.0);
        check_near("harm", ratio(-1.0), 4.0, 1e-12);
        let zeros = targets.zeros_like();
        assert!(predict_zero_ratio(&loss, &targets, &zeros).unwrap().is_nan(), "saying nothing is free");
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn shares_ignore_scale_shift_and_rotation(
            seed in 0u64..1_000_000, scale in 0.01f64..100.0, shift in -10.0f64..10.0,
        ) {
            let x_bld = normal(seed, [4, 6, 5]) + normal(seed + 1, [1, 6, 5]);
            let guess = &x_bld * 0.7 + normal(seed + 2, [4, 6, 5]) * 0.2;
            let (rotation, _) = Tensor::linalg_qr(&normal(seed + 3, [5, 5]), "reduced");
            let moved = |x: &Tensor| x.matmul(&rotation) * scale + shift;
            let share = position_share(&x_bld).unwrap();
            prop_assert!(share <= 1.0);
            prop_assert!((position_share(&moved(&x_bld)).unwrap() - share).abs() < 1e-9);
            let rows = |x: &Tensor| x.reshape([24, 5]);
            let explained = r2(&rows(&guess), &rows(&x_bld)).unwrap();
            let explained_moved = r2(&rows(&moved(&guess)), &rows(&moved(&x_bld))).unwrap();
            prop_assert!(explained <= 1.0 && (explained_moved - explained).abs() < 1e-9);
        }
    }

    #[test]
    fn groups_of_equal_size_are_positions() {
        let x_bld = normal(3, [6, 4, 5]) + normal(4, [1, 4, 5]);
        let position_n = Tensor::arange(24, (Kind::Int64, Device::Cpu)).remainder(4);
        let by_group = group_share(&x_bld.reshape([24, 5]), &position_n).unwrap();
        let by_position = position_share(&x_bld).unwrap();
        assert!((by_group - by_position).abs() < 1e-12, "{by_group} and {by_position}");
        // Numbers that no row has change nothing.
        let gaps = group_share(&x_bld.reshape([24, 5]), &(position_n * 3 + 7)).unwrap();
        assert_eq!(gaps, by_group);
    }

    #[test]
    fn groups_explain_everything_or_nothing() {
        let group_n = Tensor::from_slice(&[0i64, 1, 1, 2, 2, 2, 2]);
        let value_gd = normal(5, [3, 8]);
        let share = group_share(&value_gd.index_select(0, &group_n), &group_n).unwrap();
        assert!((share - 1.0).abs() < 1e-12, "{share}");
        // Of noise the estimate is 0 on average, with a deviation of about sqrt(2 k / D) / N, here 0.0017.
        let groups = Tensor::arange(500, (Kind::Int64, Device::Cpu)).remainder(23);
        let noise = group_share(&normal(6, [500, 64]), &groups).unwrap();
        assert!(noise.abs() < 0.01, "{noise}");
        let alone = group_share(&normal(7, [3, 2]), &Tensor::from_slice(&[0i64, 1, 2])).unwrap_err();
        assert!(matches!(alone, crate::Error::TooFew { needed: 4, got: 3, .. }), "{alone}");
    }
}

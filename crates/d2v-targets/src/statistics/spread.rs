//! How far tokens lie apart: across the batch, and within each sequence.

use tch::Tensor;

use super::{at_least, detached_f64, read, size_bld, size_nd};
use crate::Result;

/// What the reference adds to each variance before the root.
const VARIANCE_FLOOR: f64 = 1e-6;

/// The reference's `target_var` and `pred_var`: despite their names, a mean standard deviation over tokens.
///
/// `mean_d sqrt(var_n(x_nd) + 1e-6)` with the unbiased variance over the N tokens, so at least 1e-3. Of targets that
/// were normalised over the sequence, K independent layers give `1 / sqrt(K)` and K equal layers give 1. Such targets
/// hide a shrinking teacher until its raw spread is below about 3e-4: watch [`sequence_std`] too.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_nd` has two dimensions, neither empty; [`crate::Error::TooFew`] below two tokens.
pub fn token_std(x_nd: &Tensor) -> Result<f64> {
    const WHAT: &str = "token_std";
    let (rows, _) = size_nd(WHAT, x_nd)?;
    at_least(2, rows, "tokens", WHAT)?;
    let variance_d = detached_f64(x_nd).var_dim(0i64, true, false);
    let [std] = read([&(variance_d + VARIANCE_FLOOR).sqrt().mean(None)]);
    Ok(std)
}

/// Mean standard deviation over the positions of a sequence, in the tensor's own units.
///
/// `mean_bd sqrt(var_l(x_bld))` with the biased variance, which is the one that instance norm divides by: at a raw
/// spread `s` that norm leaves `s / sqrt(s^2 + 1e-5)`. 0 for one position.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_bld` has three dimensions, none of them empty.
pub fn sequence_std(x_bld: &Tensor) -> Result<f64> {
    size_bld("sequence_std", x_bld)?;
    let std_bd = detached_f64(x_bld).std_dim(1i64, false, false);
    let [std] = read([&std_bd.mean(None)]);
    Ok(std)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use tch::{Device, Kind};

    use super::super::tests::{cases, normal};
    use super::*;

    fn check_near(what: &str, got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{what}: got {got}, want {want} within {tolerance}");
    }

    #[test]
    fn token_std_is_the_value_the_reference_logs() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/logged_variance/tensors.safetensors");
        let tensors = Tensor::read_safetensors(path).unwrap();
        let named = |name: &str| &tensors.iter().find(|(n, _)| n == name).unwrap().1;
        // The reference flattens to rows of features first.
        let got = token_std(&named("variance.in").reshape([-1, 5])).unwrap();
        // The stored value is an f32 near 0.8: its own rounding is 6e-8.
        check_near("logged variance", got, named("variance.out").double_value(&[]), 1e-6);
    }

    #[test]
    fn token_std_of_two_rows_by_hand() {
        // Feature 0: -3 and 3, unbiased variance 18. Feature 1: constant.
        let x_nd = Tensor::from_slice(&[-3.0, 7.0, 3.0, 7.0]).reshape([2, 2]);
        let want = (18.0f64 + 1e-6).sqrt() / 2.0 + 1e-3 / 2.0;
        check_near("token_std", token_std(&x_nd).unwrap(), want, 1e-12);
    }

    #[test]
    fn layers_of_unit_spread_give_one_when_equal_and_less_when_independent() {
        let normalised =
            |x_nld: &Tensor| (x_nld - x_nld.mean_dim(1i64, true, None)) / x_nld.std_dim(1i64, false, true);
        // Eight layers of 4,000 tokens by 32: the error of the mean is about 1 / sqrt(2 * 4000 * 32) = 0.002.
        let layers = normalised(&normal(1, [8, 4000, 32]).to_kind(Kind::Float));
        let independent = token_std(&layers.mean_dim(0i64, false, None)).unwrap();
        check_near("independent layers", independent, 1.0 / 8f64.sqrt(), 0.005);
        check_near("equal layers", token_std(&layers.get(0)).unwrap(), 1.0, 2e-4);
    }

    #[test]
    fn one_token_has_no_spread_over_tokens() {
        let error = token_std(&Tensor::ones([1, 4], (Kind::Float, Device::Cpu))).unwrap_err();
        assert_eq!(error.to_string(), "token_std needs at least 2 tokens, got 1");
    }

    #[test]
    fn sequence_std_ignores_what_differs_only_between_samples() {
        let per_sample = Tensor::from_slice(&[-5.0, 9.0]).reshape([2, 1, 1]);
        let constant_over_positions = per_sample.expand([2, 6, 3], false);
        check_near("sequence_std", sequence_std(&constant_over_positions).unwrap(), 0.0, 1e-12);
        assert!(token_std(&constant_over_positions.reshape([12, 3])).unwrap() > 7.0);
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn spread_follows_scale_and_ignores_shift(
            seed in 0u64..1_000_000, scale in 0.1f64..50.0, shift in -100.0f64..100.0,
        ) {
            let x_bld = normal(seed, [3, 5, 4]);
            let moved = &x_bld * scale + shift;
            let (before, after) = (sequence_std(&x_bld).unwrap(), sequence_std(&moved).unwrap());
            prop_assert!((after - scale * before).abs() < 1e-9 * scale);
            let tokens = |x: &Tensor| token_std(&x.reshape([15, 4])).unwrap();
            prop_assert!((tokens(&(&x_bld + shift)) - tokens(&x_bld)).abs() < 1e-9);
        }

        #[test]
        fn one_bad_value_anywhere_is_reported(
            at in 0i64..60, bad in prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ) {
            let x = normal(1, [60]).to_kind(Kind::Float);
            let _ = x.get(at).fill_(bad);
            prop_assert!(token_std(&x.reshape([12, 5])).unwrap().is_nan());
            prop_assert!(sequence_std(&x.reshape([3, 4, 5])).unwrap().is_nan());
        }
    }
}

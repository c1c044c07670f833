//! How alike tokens are in direction: all of a sample, neighbours, and samples with one another.

use tch::{Kind, Tensor};

use super::group::Groups;
use super::{at_least, detached_f64, read, size_bld, size_nd};
use crate::Result;

/// Mean cosine between any two different positions of a sample, over all samples.
///
/// -1 to 1; 1 when every token of a sample points the same way. Nothing is centred, so a mean that all tokens share
/// counts as likeness: a rise matters, not the value by itself. Tokens that are exactly zero have no direction and are
/// left out; NaN if that leaves no pair, or if any value is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_bld` has three dimensions, none of them empty; [`crate::Error::TooFew`] below
/// two positions.
pub fn mean_token_cosine(x_bld: &Tensor) -> Result<f64> {
    const WHAT: &str = "mean_token_cosine";
    let (_, positions, _) = size_bld(WHAT, x_bld)?;
    at_least(2, positions, "positions", WHAT)?;
    Ok(mean_pair_cosine(&detached_f64(x_bld)))
}

/// Mean cosine between the token means of any two different samples.
///
/// -1 to 1; 1 when every sample gives the same mean. Of tensors normalised over the sequence each such mean is zero
/// up to rounding and this number says nothing: use it before that norm. Zero means are left out; NaN if that leaves no
/// pair, or if any value is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_bld` has three dimensions, none of them empty; [`crate::Error::TooFew`] below
/// two samples.
pub fn mean_sample_cosine(x_bld: &Tensor) -> Result<f64> {
    const WHAT: &str = "mean_sample_cosine";
    let (samples, _, _) = size_bld(WHAT, x_bld)?;
    at_least(2, samples, "samples", WHAT)?;
    let mean_1bd = detached_f64(x_bld).mean_dim(1i64, false, None).unsqueeze(0);
    Ok(mean_pair_cosine(&mean_1bd))
}

/// Mean cosine between the means of any two different groups of rows: [`mean_sample_cosine`] where samples differ in how
/// many rows they have.
///
/// `group_n` holds each row's group as int64, at least 0; numbers that no row has do not matter. Every group counts the
/// same. NaN as for samples.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_nd` has two dimensions, neither empty, and `group_n` one number per row;
/// [`crate::Error::TooFew`] below two groups.
pub fn mean_group_cosine(x_nd: &Tensor, group_n: &Tensor) -> Result<f64> {
    const WHAT: &str = "mean_group_cosine";
    size_nd(WHAT, x_nd)?;
    let groups = Groups::of(WHAT, &detached_f64(x_nd), group_n)?;
    at_least(2, groups.count(), "groups", WHAT)?;
    Ok(mean_pair_cosine(&groups.mean_gd.unsqueeze(0)))
}

/// Mean cosine between each position and the next of the same sample.
///
/// -1 to 1; near 1 a hidden position can be filled in from its neighbours. Positions of an image are in row-major
/// order, so the ends of two rows count as neighbours too. Zero tokens are left out; NaN if that leaves no pair, or if
/// any value is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] unless `x_bld` has three dimensions, none of them empty; [`crate::Error::TooFew`] below
/// two positions.
pub fn adjacent_cosine(x_bld: &Tensor) -> Result<f64> {
    const WHAT: &str = "adjacent_cosine";
    let (_, positions, _) = size_bld(WHAT, x_bld)?;
    at_least(2, positions, "positions", WHAT)?;
    let (unit_bld, present_bl) = directions(&detached_f64(x_bld));
    let steps = positions - 1;
    let [cosines, pairs] = read([
        &(unit_bld.narrow(1, 0, steps) * unit_bld.narrow(1, 1, steps)).sum(None),
        &(present_bl.narrow(1, 0, steps) * present_bl.narrow(1, 1, steps)).sum(None),
    ]);
    Ok(cosines / pairs)
}

/// Mean cosine over pairs of different tokens in the same group.
///
/// The cosines of all pairs add up to `|sum u|^2 - sum |u|^2` for unit vectors u: no pair is ever written out.
fn mean_pair_cosine(x_gnd: &Tensor) -> f64 {
    let (unit_gnd, present_gn) = directions(x_gnd);
    let count_g = present_gn.sum_dim_intlist(1i64, false, None);
    let sum_gd = unit_gnd.sum_dim_intlist(1i64, false, None);
    let [cosines, pairs] = read([
        &(sum_gd.square().sum(None) - unit_gnd.square().sum(None)),
        &(count_g.square() - &count_g).sum(None),
    ]);
    cosines / pairs
}

/// Unit vectors of the tokens, zero for a zero token, and 1 for each token that is not zero.
///
/// A token that is not finite becomes NaN, and spoils every mean it enters, as it should.
fn directions(x_gnd: &Tensor) -> (Tensor, Tensor) {
    // By the largest value first, so that no square leaves the range of f64.
    let largest_gn1 = x_gnd.abs().amax([-1i64], true);
    let zero_gn1 = largest_gn1.eq(0.0);
    let scaled_gnd = x_gnd / largest_gn1.masked_fill(&zero_gn1, 1.0);
    let norm_gn1 = scaled_gnd.norm_scalaropt_dim(2, [-1i64], true);
    let unit_gnd = scaled_gnd / norm_gn1.masked_fill(&zero_gn1, 1.0);
    (unit_gnd, zero_gn1.squeeze_dim(-1).logical_not().to_kind(Kind::Double))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Device;

    use super::super::tests::{cases, normal};
    use super::*;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn check_near(what: &str, got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12, "{what}: got {got}, want {want}");
    }

    #[test]
    fn three_tokens_by_hand() {
        // Directions at 0, 90 and 180 degrees: pairs 0, 0 and -1; neighbours 0 and 0. Lengths do not matter.
        let x_bld = Tensor::from_slice(&[2.0, 0.0, 0.0, 5.0, -1.0, 0.0]).reshape([1, 3, 2]);
        check_near("pairs", mean_token_cosine(&x_bld).unwrap(), -1.0 / 3.0);
        check_near("neighbours", adjacent_cosine(&x_bld).unwrap(), 0.0);
    }

    #[test]
    fn equal_tokens_and_equal_samples_have_cosine_one() {
        let per_sample = normal(1, [3, 1, 4]).expand([3, 5, 4], false);
        check_near("tokens", mean_token_cosine(&per_sample).unwrap(), 1.0);
        check_near("neighbours", adjacent_cosine(&per_sample).unwrap(), 1.0);
        let per_position = normal(2, [1, 5, 4]).expand([3, 5, 4], false);
        check_near("samples", mean_sample_cosine(&per_position).unwrap(), 1.0);
    }

    #[test]
    fn opposite_samples_have_cosine_minus_one() {
        let x_1ld = normal(1, [1, 5, 4]) + 2.0;
        check_near("samples", mean_sample_cosine(&Tensor::cat(&[&x_1ld, &-&x_1ld], 0)).unwrap(), -1.0);
    }

    #[test]
    fn zero_tokens_are_left_out_and_none_left_is_nan() {
        let x_bld = Tensor::from_slice(&[1.0, 1.0, 0.0, 0.0, 3.0, 3.0]).reshape([1, 3, 2]);
        check_near("the two that have a direction", mean_token_cosine(&x_bld).unwrap(), 1.0);
        assert!(adjacent_cosine(&x_bld).unwrap().is_nan(), "both pairs have a zero token");
        assert!(mean_token_cosine(&x_bld.zeros_like()).unwrap().is_nan(), "no token has a direction");
    }

    #[test]
    fn bad_values_are_reported() {
        for bad in [f64::NAN, f64::INFINITY] {
            let x_bld = Tensor::ones([2, 3, 4], F64);
            let _ = x_bld.get(1).get(2).get(3).fill_(bad);
            assert!(mean_token_cosine(&x_bld).unwrap().is_nan(), "tokens with {bad}");
            assert!(adjacent_cosine(&x_bld).unwrap().is_nan(), "neighbours with {bad}");
            assert!(mean_sample_cosine(&x_bld).unwrap().is_nan(), "samples with {bad}");
        }
    }

    #[test]
    fn a_single_position_is_refused() {
        let error = adjacent_cosine(&Tensor::ones([2, 1, 4], F64)).unwrap_err();
        assert_eq!(error.to_string(), "adjacent_cosine needs at least 2 positions, got 1");
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn cosines_ignore_scale_and_rotation(seed in 0u64..1_000_000, exponent in -200i32..200) {
            let x_bld = normal(seed, [3, 4, 5]);
            let (rotation, _) = Tensor::linalg_qr(&normal(seed + 1, [5, 5]), "reduced");
            let moved = x_bld.matmul(&rotation) * 10f64.powi(exponent);
            for (name, cosine) in [
                ("tokens", mean_token_cosine as fn(&Tensor) -> Result<f64>),
                ("samples", mean_sample_cosine),
                ("neighbours", adjacent_cosine),
            ] {
                let (before, after) = (cosine(&x_bld).unwrap(), cosine(&moved).unwrap());
                prop_assert!((-1.0..=1.0).contains(&before), "{name}: {before}");
                prop_assert!((after - before).abs() < 1e-9, "{name}: {before}, then {after}");
            }
        }

        #[test]
        fn pairs_written_out_give_the_same_mean(seed in 0u64..1_000_000, positions in 2i64..7) {
            let x_bld = normal(seed, [2, positions, 3]);
            let mut cosines = Vec::new();
            for b in 0..2 {
                for i in 0..positions {
                    for j in 0..i {
                        let (u, v) = (x_bld.get(b).get(i), x_bld.get(b).get(j));
                        cosines.push((u.dot(&v) / (u.norm() * v.norm())).double_value(&[]));
                    }
                }
            }
            let want = cosines.iter().sum::<f64>() / cosines.len() as f64;
            prop_assert!((mean_token_cosine(&x_bld).unwrap() - want).abs() < 1e-12);
        }
    }

    #[test]
    fn groups_of_equal_size_are_samples() {
        let x_bld = normal(8, [3, 4, 5]);
        let sample_n = Tensor::arange(12, (Kind::Int64, Device::Cpu)).divide_scalar_mode(4, "floor");
        let by_group = mean_group_cosine(&x_bld.reshape([12, 5]), &sample_n).unwrap();
        let by_sample = mean_sample_cosine(&x_bld).unwrap();
        assert!((by_group - by_sample).abs() < 1e-12, "{by_group} and {by_sample}");
    }

    #[test]
    fn groups_differ_in_size_and_one_is_too_few() {
        let x_nd = Tensor::from_slice(&[1.0, 0.0, 0.0, 2.0, 0.0, 4.0]).reshape([3, 2]);
        let group_n = Tensor::from_slice(&[1i64, 4, 4]);
        assert_eq!(mean_group_cosine(&x_nd, &group_n).unwrap(), 0.0, "means (1, 0) and (0, 3)");
        let one = mean_group_cosine(&x_nd, &Tensor::from_slice(&[2i64, 2, 2])).unwrap_err();
        assert!(matches!(one, crate::Error::TooFew { needed: 2, got: 1, .. }), "{one}");
        let short = mean_group_cosine(&x_nd, &Tensor::from_slice(&[2i64, 2])).unwrap_err();
        assert!(matches!(short, crate::Error::Shape { .. }), "{short}");
    }
}

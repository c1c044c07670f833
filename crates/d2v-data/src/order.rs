//! The order of an epoch, as a pure function of seed and epoch.

use crate::random::{Domain, keyed_rng};
use rand::seq::SliceRandom;

/// The order in which an epoch visits `len` samples: a uniform random permutation of `0..len`.
///
/// A pure function, so that resuming inside an epoch is a seek.
///
/// ```
/// let order = d2v_data::order(7, 0, 5);
/// assert_eq!(order, d2v_data::order(7, 0, 5));
/// assert_ne!(order, d2v_data::order(7, 1, 5));
/// ```
pub fn order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut keyed_rng(Domain::Order, seed, epoch, len as u64));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_permutation(seed: u64, epoch: u64, len in 0_usize..500) {
            let mut sorted = order(seed, epoch, len);
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..len));
        }
    }

    /// A change here changes every run: resuming an older one would visit other samples.
    #[test]
    fn is_pinned() {
        assert_eq!(order(0, 0, 8), [2, 5, 4, 6, 0, 3, 1, 7]);
    }

    /// Each of 6 values at each of 6 places: 36 counts of mean n/6, each within 5 standard errors.
    #[test]
    fn every_place_is_equally_likely() {
        let n = 6_000_u32;
        let mut counts = [[0_u32; 6]; 6];
        for epoch in 0..n {
            for (place, value) in order(3, u64::from(epoch), 6).into_iter().enumerate() {
                counts[place][value] += 1;
            }
        }
        let mean = f64::from(n) / 6.0;
        let bound = 5.0 * (mean * 5.0 / 6.0).sqrt();
        for count in counts.iter().flatten() {
            assert!((f64::from(*count) - mean).abs() < bound, "{counts:?}, {bound}");
        }
    }
}

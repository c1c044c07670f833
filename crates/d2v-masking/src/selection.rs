//! Random subsets of positions, and counts from shares.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::MaskRng;

/// `floor(total * share)`, where a product that misses a whole number by rounding alone counts as that number.
///
/// Differs from the reference: there, hiding 0.8 of 10 positions leaves `int(10 * (1 - 0.8))` = 1 visible, because
/// `1 - 0.8` is a little below 0.2. Here it leaves 2. No published setting is touched by this.
pub(crate) fn floor_share(total: usize, share: f64) -> usize {
    // Shares are a few roundings away from what was meant, each of 1e-16; totals stay below 2^31.
    const SHARE_ERROR: f64 = 1e-12;
    (total as f64 * (share + SHARE_ERROR)).floor() as usize
}

/// `floor(expected + U)` with U uniform in [0, 1): a count whose mean is `expected`.
pub(crate) fn round_randomly(expected: f64, rng: &mut MaskRng) -> usize {
    (expected + rng.random::<f64>()).floor() as usize
}

/// Chooses `count` of the numbers below `limit` uniformly without replacement, or all if there are fewer; unordered.
pub(crate) fn choose_distinct<'a>(
    limit: usize,
    count: usize,
    scratch: &'a mut Vec<u32>,
    rng: &mut MaskRng,
) -> &'a [u32] {
    scratch.clear();
    scratch.extend(0..limit as u32);
    scratch.partial_shuffle(rng, count).0
}

/// Sets `count` uniformly random positions of those that are not `value` to `value`, or all if there are fewer.
pub(crate) fn set_random(
    row: &mut [bool],
    value: bool,
    count: usize,
    scratch: &mut Vec<u32>,
    rng: &mut MaskRng,
) {
    scratch.clear();
    scratch.resize(row.len(), 0);
    let mut candidates = 0;
    // Without a branch: about half of the positions qualify, which no processor predicts.
    for (position, &is) in row.iter().enumerate() {
        scratch[candidates] = position as u32;
        candidates += usize::from(is != value);
    }
    let (chosen, _) = scratch[..candidates].partial_shuffle(rng, count);
    for &position in &*chosen {
        row[position as usize] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaskKey;
    use crate::mask::count_hidden;

    #[track_caller]
    fn check_floor(total: usize, share: f64, expected: usize) {
        assert_eq!(floor_share(total, share), expected);
    }

    #[test]
    fn published_counts_are_exact() {
        check_floor(196, 1.0 - 0.8, 39);
        check_floor(196, 1.0 - 0.75, 49);
        check_floor(256, 1.0 - 0.75, 64);
        check_floor(499, 0.5, 249);
        check_floor(499, 0.55, 274);
        check_floor(750, 0.55, 412);
        check_floor(512, 1.0 - 0.48, 266);
    }

    #[test]
    fn rounding_loses_no_position() {
        for total in 1..5000 {
            check_floor(total * 10, 1.0 - 0.8, total * 2);
            check_floor(total * 10, 0.1 + 0.2, total * 3);
        }
    }

    #[test]
    fn subsets_are_as_large_as_asked_and_distinct() {
        let (mut scratch, mut rng) = (Vec::new(), MaskKey::default().rng());
        for count in [0, 1, 7, 10, 11] {
            let mut chosen = choose_distinct(10, count, &mut scratch, &mut rng).to_vec();
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), count.min(10));
            let mut row = [true, false, true, false, true, false, false, false, false, false];
            set_random(&mut row, true, count, &mut scratch, &mut rng);
            assert_eq!(count_hidden(&row), 3 + count.min(7));
        }
    }

    /// Each of 12 candidates is turned on in 1/3 of 6000 draws: 2000 +- 5 sqrt(6000 * 2/9).
    #[test]
    fn subsets_are_uniform() {
        let (mut scratch, mut rng) = (Vec::new(), MaskKey::default().rng());
        let mut hits = [0; 12];
        for _ in 0..6000 {
            let mut row = [false; 12];
            set_random(&mut row, true, 4, &mut scratch, &mut rng);
            row.iter().zip(&mut hits).for_each(|(&on, hits)| *hits += usize::from(on));
        }
        assert!(hits.iter().all(|hits| hits.abs_diff(2000) <= 182), "{hits:?}");
    }
}

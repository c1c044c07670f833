//! Where spans of given lengths are laid in a row.

use std::ops::Range;

use rand::RngExt;

use crate::MaskRng;
use crate::selection::choose_distinct;
use crate::spans_config::StartRange;

/// Lays spans at distinct uniformly random starts; what reaches beyond the row is cut off.
///
/// `row` has at least 2 positions, and `lengths` yields fewer spans than that.
pub(crate) fn lay_overlapping(
    row: &mut [bool],
    lengths: impl ExactSizeIterator<Item = usize>,
    shortest: usize,
    start_range: StartRange,
    scratch: &mut Vec<u32>,
    rng: &mut MaskRng,
) {
    let count = lengths.len();
    let room = row.len().saturating_sub(shortest);
    let starts = match start_range {
        // A row too short for so many distinct starts lets them come nearer to its end.
        StartRange::BeforeLast if room <= count => count + 1,
        StartRange::BeforeLast => room,
        // Where the shortest span is empty, the position after the last is no place for the others.
        StartRange::ToLast => (room + 1).min(row.len()),
    };
    for (&start, length) in choose_distinct(starts, count, scratch, rng).iter().zip(lengths) {
        let start = start as usize;
        let end = (start + length).min(row.len());
        row[start..end].fill(true);
    }
}

/// Lays spans, longest first, in gaps chosen with probability proportional to their length and uniformly within the gap,
/// `min_space` apart. Spans that no gap can hold are left out.
pub(crate) fn lay_apart(row: &mut [bool], mut lengths: Vec<usize>, min_space: usize, rng: &mut MaskRng) {
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let shortest = lengths.last().copied().unwrap_or(0);
    let mut gaps: Vec<Range<usize>> = std::iter::once(0..row.len()).collect();
    for length in lengths {
        let holds = |gap: &Range<usize>| if gap.len() >= length + min_space { gap.len() } else { 0 };
        let total: usize = gaps.iter().map(holds).sum();
        if total == 0 {
            // A shorter span may still fit.
            continue;
        }
        let mut ticket = rng.random_range(0..total as u32) as usize;
        let chosen = gaps.iter().map(holds).position(|weight| {
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        let gap = gaps.swap_remove(chosen.expect("the ticket is below the sum of the weights"));
        let start = gap.start + rng.random_range(0..=(gap.len() - length) as u32) as usize;
        let end = start + length;
        row[start..end].fill(true);
        let before = gap.start..start.saturating_sub(min_space).max(gap.start);
        let after = (end + min_space).min(gap.end)..gap.end;
        gaps.extend([before, after].into_iter().filter(|rest| rest.len() >= shortest.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mask, MaskKey};

    #[track_caller]
    fn check_apart(len: usize, lengths: &[usize], min_space: usize, expected: &[usize]) {
        for seed in 0..200 {
            let mut row = vec![false; len];
            let mut rng = MaskKey { seed, ..MaskKey::default() }.rng();
            lay_apart(&mut row, lengths.to_vec(), min_space, &mut rng);
            let mask = Mask::new(1, len, row).unwrap();
            let mut runs: Vec<_> = mask.runs(0).map(|run| run.len()).collect();
            runs.sort_unstable();
            assert_eq!(runs, expected, "{mask}");
        }
    }

    #[test]
    fn spans_apart_keep_their_lengths() {
        check_apart(40, &[3, 5, 2], 1, &[2, 3, 5]);
        check_apart(6, &[6], 0, &[6]);
        // The long span does not fit with its space, the short one does.
        check_apart(6, &[6, 2], 1, &[2]);
        check_apart(10, &[], 1, &[]);
    }

    #[test]
    fn a_span_may_start_at_every_place_of_its_gap() {
        let mut first = [0; 4];
        for seed in 0..4000 {
            let mut row = vec![false; 5];
            lay_apart(&mut row, vec![2], 1, &mut MaskKey { seed, ..MaskKey::default() }.rng());
            first[row.iter().position(|&hidden| hidden).unwrap()] += 1;
        }
        // 1000 +- 5 sqrt(4000 * 3/16)
        assert!(first.iter().all(|hits: &usize| hits.abs_diff(1000) <= 137), "{first:?}");
    }
}

//! Batches of nearly equal total length out of samples of different lengths.

use crate::random::{Domain, keyed_rng};
use rand::seq::SliceRandom;
use std::ops::Range;
use std::sync::Arc;

/// The batches of one epoch: an order of all samples, and the parts of it that are batches.
#[derive(Debug, Clone)]
pub(crate) struct Buckets {
    pub(crate) order: Arc<[usize]>,
    pub(crate) batches: Arc<[Range<usize>]>,
}

impl Buckets {
    /// Sorts the samples by length, those of one length in an order drawn from `(seed, epoch)`, cuts the row into the
    /// longest batches of which samples x longest stays within `total`, and shuffles the batches.
    ///
    /// How many batches there are, and of which lengths, is the same in every epoch.
    pub(crate) fn new(lengths: &[usize], total: usize, seed: u64, epoch: u64) -> Buckets {
        let mut rng = keyed_rng(Domain::Buckets, seed, epoch, lengths.len() as u64);
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.shuffle(&mut rng);
        order.sort_by_key(|&index| lengths[index]);
        let mut batches = Vec::new();
        let mut start = 0;
        for end in 1..=order.len() {
            // The next sample is the longest of a batch that took it in.
            let next = order.get(end).map(|&index| lengths[index]);
            if next.is_none_or(|length| (end + 1 - start).saturating_mul(length) > total) {
                batches.push(start..end);
                start = end;
            }
        }
        batches.shuffle(&mut rng);
        Buckets { order: order.into(), batches: batches.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sample_is_in_one_batch_within_the_total(
            lengths in proptest::collection::vec(1_usize..60, 1..200),
            total in 60_usize..400,
            seed: u64,
            epoch: u64,
        ) {
            let buckets = Buckets::new(&lengths, total, seed, epoch);
            let mut seen: Vec<usize> = Vec::new();
            for batch in buckets.batches.iter() {
                let part = &buckets.order[batch.clone()];
                let longest = part.iter().map(|&index| lengths[index]).max().unwrap();
                prop_assert!(part.len() * longest <= total, "{part:?}");
                seen.extend(part);
            }
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..lengths.len()));
            // The shapes are those of any other epoch.
            let shapes = |buckets: &Buckets| {
                let mut shapes: Vec<Vec<usize>> = buckets.batches.iter()
                    .map(|batch| buckets.order[batch.clone()].iter().map(|&index| lengths[index]).collect())
                    .collect();
                shapes.sort();
                shapes
            };
            prop_assert_eq!(shapes(&buckets), shapes(&Buckets::new(&lengths, total, seed, epoch ^ 1)));
        }
    }

    #[test]
    fn neighbours_in_length_share_a_batch_and_batches_are_shuffled() {
        let lengths: Vec<usize> = (0..100).map(|i| 10 + i * 37 % 100).collect();
        let buckets = Buckets::new(&lengths, 500, 3, 0);
        let spans: Vec<usize> = buckets
            .batches
            .iter()
            .map(|batch| {
                let part = buckets.order[batch.clone()].iter().map(|&index| lengths[index]);
                part.clone().max().unwrap() - part.min().unwrap()
            })
            .collect();
        assert!(spans.iter().all(|&span| span < 50), "{spans:?}");
        let starts: Vec<usize> = buckets.batches.iter().map(|batch| batch.start).collect();
        assert!(!starts.is_sorted(), "{starts:?}");
        let same = Buckets::new(&lengths, 500, 3, 0);
        assert_eq!(buckets.order, same.order, "a function of seed and epoch");
        // All lengths differ here, so another epoch differs in the order of the batches.
        assert_ne!(buckets.batches, Buckets::new(&lengths, 500, 3, 1).batches, "another epoch");
    }
}

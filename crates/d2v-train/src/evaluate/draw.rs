//! Which samples are used: a pure function of the seed, the purpose and the draw.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The two halves of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What the probe is fitted to.
    Train,
    /// What it is scored on, and nothing else.
    Test,
}

/// At most `max` of the indices `0..len`, in rising order; all of them where `max` is not smaller than `len`.
///
/// Depends on its arguments alone, and not on any run, so that all runs of a report are scored on the same samples.
pub fn choose_items(len: usize, max: usize, seed: u64, part: Part) -> Vec<usize> {
    if max >= len {
        return (0..len).collect();
    }
    let purpose = match part {
        Part::Train => Purpose::TrainItems,
        Part::Test => Purpose::TestItems,
    };
    let mut chosen = index::sample(&mut keyed_rng(seed, purpose, 0), len, max).into_vec();
    chosen.sort_unstable();
    chosen
}

/// What a random number is for; uses with different purposes are independent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The subset of the training part.
    TrainItems,
    /// The subset of the test part.
    TestItems,
    /// The samples of one few-label draw.
    FewLabels,
}

/// A generator whose key spells out seed, purpose and draw, so that no two uses share a stream.
pub(super) fn keyed_rng(seed: u64, purpose: Purpose, draw: u64) -> ChaCha8Rng {
    let tag: [u8; 8] = match purpose {
        Purpose::TrainItems => *b"evaltrai",
        Purpose::TestItems => *b"evaltest",
        Purpose::FewLabels => *b"evalfewl",
    };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&tag);
    key[16..24].copy_from_slice(&draw.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_sorted_distinct_and_a_function_of_its_arguments() {
        let chosen = choose_items(1000, 100, 7, Part::Train);
        assert_eq!(chosen.len(), 100);
        assert!(chosen.is_sorted_by(|a, b| a < b));
        assert!(chosen.iter().all(|&i| i < 1000));
        assert_eq!(chosen, choose_items(1000, 100, 7, Part::Train));
        assert_ne!(chosen, choose_items(1000, 100, 8, Part::Train));
        assert_ne!(chosen, choose_items(1000, 100, 7, Part::Test));
    }

    #[test]
    fn a_generous_limit_keeps_everything() {
        assert_eq!(choose_items(3, 3, 0, Part::Test), [0, 1, 2]);
        assert_eq!(choose_items(0, 5, 0, Part::Test), [0usize; 0]);
    }
}

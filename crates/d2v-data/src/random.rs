//! Where randomness comes from: a key of four numbers, a stream of its own for every use.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What the augmentation of one sample depends on, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AugmentKey {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch: another one gives another crop of the same picture.
    pub epoch: u64,
    /// The sample's stable id, [`Dataset::id`](crate::Dataset::id).
    pub sample_id: u64,
}

impl AugmentKey {
    /// The stream of random numbers for this key.
    pub(crate) fn rng(self) -> ChaCha8Rng {
        keyed_rng(Domain::Augment, self.seed, self.epoch, self.sample_id)
    }
}

/// The use a stream is for, so that two uses of one key do not correlate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Domain {
    /// Crops, flips, colours.
    Augment,
    /// The order of an epoch.
    Order,
    /// What stands in for an unreadable sample.
    Replace,
    /// Drawing the built-in pictures.
    Draw,
    /// Where the samples of a batch are cut to one length.
    Crop,
    /// Which samples of one length share a batch, and the order of such batches.
    Buckets,
    /// Noise in digital silence.
    Noise,
}

impl Domain {
    const fn tag(self) -> [u8; 8] {
        match self {
            Self::Augment => *b"d2vaugmt",
            Self::Order => *b"d2vorder",
            Self::Replace => *b"d2vreplc",
            Self::Draw => *b"d2vdraw1",
            Self::Crop => *b"d2vcrop1",
            Self::Buckets => *b"d2vbuckt",
            Self::Noise => *b"d2vnoise",
        }
    }
}

/// ChaCha8 with tag and key, side by side, as its 256-bit key: no two keys share a stream, and the cipher does the mixing.
pub(crate) fn keyed_rng(domain: Domain, a: u64, b: u64, c: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&domain.tag());
    for (slot, part) in key[8..].chunks_exact_mut(8).zip([a, b, c]) {
        slot.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |domain, a, b, c| keyed_rng(domain, a, b, c).next_u64();
        let base = first(Domain::Augment, 1, 2, 3);
        assert_eq!(base, first(Domain::Augment, 1, 2, 3));
        let others = [
            first(Domain::Order, 1, 2, 3),
            first(Domain::Replace, 1, 2, 3),
            first(Domain::Draw, 1, 2, 3),
            first(Domain::Augment, 2, 2, 3),
            first(Domain::Augment, 1, 3, 3),
            first(Domain::Augment, 1, 2, 1 << 63 | 3),
            first(Domain::Augment, 2, 1, 3),
        ];
        assert!(!others.contains(&base));
    }
}

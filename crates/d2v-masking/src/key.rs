//! The key that a random draw is a function of.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The random generator of all draws: ChaCha with 8 rounds, whose stream is the same on every machine.
pub type MaskRng = ChaCha8Rng;

/// What a mask is a function of, beside the settings.
///
/// Two different keys never share a random stream: see [`MaskKey::rng_for`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskKey {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, or the step where data has no epochs. Never both in one run.
    pub epoch: u64,
    /// The sample's number in its data set (not in the batch, which depends on the loader).
    pub sample_id: u64,
    /// Which of the sample's masks of this step: 0 in data2vec 1.0, 0 to M-1 for the M clones of 2.0.
    pub clone: u32,
}

/// Use of a stream, so that draws for different ends do not correlate.
pub(crate) mod domain {
    /// Where the mask's blocks, spans or single positions lie.
    pub(crate) const DRAW: [u8; 4] = *b"mask";
    /// A rounding draw that several rows share.
    pub(crate) const ROUND: [u8; 4] = *b"rond";
    /// Which positions are changed to give all rows one count.
    pub(crate) const EQUALISE: [u8; 4] = *b"same";
    /// Which hidden positions are shown again at last.
    pub(crate) const DROP: [u8; 4] = *b"drop";
    /// What stands at a chosen token's place.
    pub(crate) const CORRUPT: [u8; 4] = *b"toks";
    /// Which hidden positions the student keeps nevertheless.
    pub(crate) const KEEP: [u8; 4] = *b"keep";
}

impl MaskKey {
    /// The generator of the mask itself.
    #[must_use]
    pub fn rng(&self) -> MaskRng {
        self.rng_for(domain::DRAW)
    }

    /// The generator of another draw for the same sample, told apart by a tag of four bytes.
    ///
    /// The 256-bit ChaCha key is the key's fields and the tag side by side: no hash, hence no collisions (the
    /// reference hashes into 1,000,000 seeds). ChaCha itself mixes: neighbouring keys give unrelated streams.
    ///
    /// ```
    /// use d2v_masking::MaskKey;
    /// use rand::Rng;
    ///
    /// let key = MaskKey { seed: 1, epoch: 2, sample_id: 3, clone: 0 };
    /// assert_eq!(key.rng_for(*b"nois").next_u64(), key.rng_for(*b"nois").next_u64());
    /// assert_ne!(key.rng_for(*b"nois").next_u64(), key.rng().next_u64());
    /// ```
    #[must_use]
    pub fn rng_for(&self, tag: [u8; 4]) -> MaskRng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        seed[16..24].copy_from_slice(&self.sample_id.to_le_bytes());
        seed[24..28].copy_from_slice(&self.clone.to_le_bytes());
        seed[28..].copy_from_slice(&tag);
        ChaCha8Rng::from_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    const KEY: MaskKey = MaskKey { seed: 7, epoch: 1, sample_id: 2, clone: 0 };

    /// Neighbours in every field differ in about half the bits of the first 64 words: 2048 +- 5 * 32.
    #[test]
    fn neighbouring_keys_are_unrelated() {
        let words = |mut rng: MaskRng| -> Vec<u64> { (0..64).map(|_| rng.next_u64()).collect() };
        let first = words(KEY.rng());
        for other in [
            MaskKey { seed: 8, ..KEY }.rng(),
            MaskKey { epoch: 2, ..KEY }.rng(),
            MaskKey { sample_id: 3, ..KEY }.rng(),
            MaskKey { clone: 1, ..KEY }.rng(),
            MaskKey { seed: KEY.epoch, epoch: KEY.seed, ..KEY }.rng(),
            KEY.rng_for(domain::DROP),
        ] {
            let differing: u32 = words(other).iter().zip(&first).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert!((1888..=2208).contains(&differing), "{differing} of 4096 bits differ");
        }
    }

    #[test]
    fn the_same_key_gives_the_same_stream() {
        assert_eq!(KEY.rng().next_u64(), KEY.rng().next_u64());
    }
}

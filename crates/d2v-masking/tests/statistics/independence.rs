//! Rows of neighbouring samples, epochs and clones share no more hidden positions than rows of independent draws.

use d2v_masking::{
    BlocksConfig, BlocksV2Config, EqualCounts, Mask, MaskConfig, MaskKey, Positions, RandomConfig,
    SpansConfig, TokensConfig,
};

use crate::{Estimate, check};

/// Rows that are drawn together: span masks give the rows of a batch one count.
const BATCH: usize = 8;
const BATCHES: u64 = 250;

/// Every other sample of a data set, so that its neighbour is in none of these batches.
fn batch(number: u64) -> [MaskKey; BATCH] {
    let first = number * BATCH as u64;
    std::array::from_fn(|row| MaskKey {
        seed: 13,
        epoch: 7,
        sample_id: 1000 + 2 * (first + row as u64),
        clone: 0,
    })
}

/// Positions that are hidden in rows of both, per row.
fn shared(one: &Mask, other: &Mask) -> f64 {
    let both = one.as_slice().iter().zip(other.as_slice()).filter(|(a, b)| **a && **b);
    both.count() as f64 / one.rows() as f64
}

#[test]
fn samples_epochs_and_clones_are_independent() {
    let free = SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::default() };
    for (config, positions) in [
        (MaskConfig::Blocks(BlocksConfig::default()), Positions::Grid { height: 14, width: 14 }),
        (MaskConfig::Spans(SpansConfig::default()), Positions::Line { len: 128 }),
        (MaskConfig::Spans(free), Positions::Line { len: 128 }),
        (MaskConfig::Random(RandomConfig::default()), Positions::Line { len: 128 }),
        (MaskConfig::BlocksV2(BlocksV2Config::image_base()), Positions::Grid { height: 14, width: 14 }),
        (MaskConfig::BlocksV2(BlocksV2Config::audio_base()), Positions::Line { len: 128 }),
        (MaskConfig::Tokens(TokensConfig::default()), Positions::Line { len: 128 }),
        (MaskConfig::Tokens(TokensConfig::spans_of_four()), Positions::Line { len: 128 }),
    ] {
        let sampler = config.build().unwrap();
        let draw = |keys: [MaskKey; BATCH]| sampler.sample_batch(positions, None, &keys).unwrap();
        // One observation per batch, whose rows may share a count.
        let shared_with = |other: fn(MaskKey) -> MaskKey| {
            Estimate::mean((0..BATCHES).map(|number| {
                let keys = batch(number);
                shared(&draw(keys), &draw(keys.map(other)))
            }))
        };
        // Keys that differ in everything, far apart, stand for independence.
        let unrelated = shared_with(|key| MaskKey {
            seed: 99,
            epoch: 1 << 40,
            sample_id: 1 << 50 | key.sample_id,
            clone: 5,
        });
        let neighbours: [fn(MaskKey) -> MaskKey; 4] = [
            |key| MaskKey { sample_id: key.sample_id + 1, ..key },
            |key| MaskKey { epoch: key.epoch + 1, ..key },
            |key| MaskKey { clone: key.clone + 1, ..key },
            |key| MaskKey { seed: key.seed + 1, ..key },
        ];
        for other in neighbours {
            check(&format!("{config:?}, shared positions"), shared_with(other), unrelated);
        }
    }
}

//! The laws that each sampler keeps for every key and setting.
//!
//! `PROPTEST_CASES=10000 cargo test -p d2v-masking --test properties` asks for more cases than the 128 of an ordinary run.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod blocks;
mod spans;
mod tokens;
mod visible;

use d2v_masking::{
    BlocksConfig, BlocksV2Config, EqualCounts, Mask, MaskConfig, MaskKey, PaddingMask, Positions,
    RandomConfig, SpansConfig, TokensConfig,
};
use proptest::prelude::*;

use crate::spans::spans_config;

/// 128 cases, or as many as the environment asks for.
fn cases() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 128 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn key() -> impl Strategy<Value = MaskKey> {
    (0..1000u64, 0..100u64, 0..1000u64, 0..16u32).prop_map(|(seed, epoch, sample_id, clone)| MaskKey {
        seed,
        epoch,
        sample_id,
        clone,
    })
}

/// One key per row, as a loader makes them: neighbouring samples.
fn batch_keys(first: MaskKey, rows: usize) -> Vec<MaskKey> {
    (0..rows as u64).map(|row| MaskKey { sample_id: first.sample_id + row, ..first }).collect()
}

/// Real lengths of a batch's rows and the padded length, which is that of the longest.
fn ragged(shortest: usize, longest: usize) -> impl Strategy<Value = PaddingMask> {
    prop::collection::vec(shortest..=longest, 1..9).prop_map(|lengths| {
        let len = lengths.iter().copied().max().unwrap_or(0);
        PaddingMask::from_lengths(&lengths, len).unwrap()
    })
}

fn line(padding: &PaddingMask) -> Positions {
    Positions::Line { len: padding.len() }
}

/// One configuration of each family, with positions that suit it.
fn any_sampler() -> impl Strategy<Value = (MaskConfig, Positions)> {
    let grid = Positions::Grid { height: 14, width: 14 };
    let line = Positions::Line { len: 150 };
    let free = SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::default() };
    prop_oneof![
        Just((MaskConfig::Blocks(BlocksConfig::default()), grid)),
        Just((MaskConfig::Spans(free), line)),
        spans_config()
            .prop_map(|config| SpansConfig { equal_counts: EqualCounts::Off {}, ..config })
            .prop_map(move |config| (MaskConfig::Spans(config), line)),
        Just((MaskConfig::Tokens(TokensConfig::spans_of_four()), line)),
        Just((MaskConfig::Random(RandomConfig::default()), line)),
        Just((MaskConfig::BlocksV2(BlocksV2Config::image_base()), grid)),
        Just((MaskConfig::BlocksV2(BlocksV2Config::audio_base()), line)),
    ]
}

fn counts(mask: &Mask) -> Vec<usize> {
    (0..mask.rows()).map(|row| mask.hidden_count(row)).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_mask_is_a_function_of_its_key((config, positions) in any_sampler(), key in key()) {
        let sampler = config.build().unwrap();
        let keys = batch_keys(key, 5);
        let mask = sampler.sample_batch(positions, None, &keys).unwrap();
        prop_assert_eq!((mask.rows(), mask.len()), (5, positions.len()));
        // The same rows in another order and another batch.
        let reversed: Vec<MaskKey> = keys.iter().rev().copied().collect();
        let again = sampler.sample_batch(positions, None, &reversed).unwrap();
        prop_assert_eq!(again.select_rows(&[4, 3, 2, 1, 0]).unwrap(), mask.clone());
        prop_assert_eq!(sampler.sample_row(positions, positions.len(), key).unwrap(), mask.row(0));
    }

    /// Equal counts make a row depend on which rows it is drawn with, and on nothing else.
    #[test]
    fn masks_of_equal_counts_are_a_function_of_their_batchs_keys(
        config in spans_config(), fill in any::<bool>(), key in key(), rows in 1..9usize, turn in 0..9usize,
    ) {
        let equal_counts =
            if fill { EqualCounts::FillToMost { hide_padding: false } } else { EqualCounts::CutToFewest {} };
        let sampler = MaskConfig::Spans(SpansConfig { equal_counts, ..config }).build().unwrap();
        let line = Positions::Line { len: 150 };
        let keys = batch_keys(key, rows);
        let mask = sampler.sample_batch(line, None, &keys).unwrap();
        prop_assert_eq!(&sampler.sample_batch(line, None, &keys).unwrap(), &mask);
        prop_assert_eq!(counts(&mask), vec![mask.hidden_count(0); rows]);
        // The same rows in another order.
        let order: Vec<usize> = (0..rows).map(|row| (row + turn) % rows).collect();
        let turned: Vec<MaskKey> = order.iter().map(|&row| keys[row]).collect();
        prop_assert_eq!(sampler.sample_batch(line, None, &turned).unwrap(), mask.select_rows(&order).unwrap());
    }

    #[test]
    fn padding_is_never_hidden(padding in ragged(5, 60), spans in spans_config(), key in key()) {
        let keys = batch_keys(key, padding.rows());
        for config in [
            MaskConfig::Spans(spans),
            MaskConfig::Tokens(TokensConfig::spans_of_four()),
            MaskConfig::Random(RandomConfig::default()),
            MaskConfig::BlocksV2(BlocksV2Config::audio_base()),
            MaskConfig::BlocksV2(BlocksV2Config { inverse: true, ..BlocksV2Config::audio_base() }),
        ] {
            let mask = config.build().unwrap().sample_batch(line(&padding), Some(&padding), &keys).unwrap();
            for (row, &real_len) in padding.lengths().iter().enumerate() {
                prop_assert!(mask.hidden(row).all(|position| position < real_len), "{:?}\n{}", config, mask);
            }
        }
    }

    #[test]
    fn views_of_a_mask_agree(rows in 0..5usize, len in 0..40usize, seed in any::<u64>()) {
        let hidden: Vec<bool> = (0..rows * len).map(|cell| seed.rotate_left(cell as u32 % 61) & 1 == 1).collect();
        let mask = Mask::new(rows, len, hidden).unwrap();
        let by_row: Vec<i64> =
            (0..rows).flat_map(|row| mask.hidden(row).map(move |position| (row * len + position) as i64)).collect();
        prop_assert_eq!(mask.flat_hidden(), by_row);
        prop_assert_eq!(mask.inverse().inverse(), mask.clone());
        prop_assert_eq!(mask.inverse().total_hidden(), rows * len - mask.total_hidden());
        for row in 0..rows {
            let from_runs: Vec<usize> = mask.runs(row).flatten().collect();
            prop_assert_eq!(from_runs, mask.hidden(row).collect::<Vec<_>>());
            let ranges: Vec<_> = mask.runs(row).collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            let mut all: Vec<usize> = mask.hidden(row).chain(mask.visible(row)).collect();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..len));
        }
    }
}

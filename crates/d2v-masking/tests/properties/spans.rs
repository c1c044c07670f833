//! Laws of the span masks.

use d2v_masking::{
    EqualCounts, Mask, MaskSampler, Overlap, Positions, SpanLengths, SpanRounding, Spans, SpansConfig,
    StartRange,
};
use proptest::prelude::*;

use crate::{batch_keys, cases, counts, key, line, ragged};

fn span_lengths() -> impl Strategy<Value = SpanLengths> {
    prop_oneof![
        Just(SpanLengths::Static {}),
        (0..3usize).prop_map(|min| SpanLengths::Uniform { min }),
        (0.0..4.0).prop_map(|stdev| SpanLengths::Normal { stdev }),
        Just(SpanLengths::Poisson {}),
    ]
}

/// Any span settings under which every row has a span.
pub(crate) fn spans_config() -> impl Strategy<Value = SpansConfig> {
    let overlap = prop_oneof![
        Just(Overlap::Allowed {}),
        (0..4usize).prop_map(|min_space| Overlap::Forbidden { min_space })
    ];
    let start_range = prop_oneof![Just(StartRange::BeforeLast), Just(StartRange::ToLast)];
    let rounding = prop_oneof![Just(SpanRounding::PerRow), Just(SpanRounding::PerEpoch)];
    let equal_counts = prop_oneof![Just(EqualCounts::Off {}), Just(EqualCounts::CutToFewest {})];
    (
        (0.0..=1.0, 2..12usize, span_lengths(), overlap),
        (start_range, rounding, any::<bool>(), 1..4usize, equal_counts),
    )
        .prop_map(
            |(
                (mask_prob, mask_length, lengths, overlap),
                (start_range, rounding, fit_side_by_side, min_masks, equal_counts),
            )| {
                SpansConfig {
                    mask_prob,
                    mask_length,
                    lengths,
                    overlap,
                    start_range,
                    rounding,
                    fit_side_by_side,
                    min_masks,
                    equal_counts,
                    mask_dropout: 0.0,
                }
            },
        )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn spans_hide_and_show_something_in_every_row(
        padding in ragged(5, 80), config in spans_config(), key in key(),
    ) {
        let keys = batch_keys(key, padding.rows());
        let mask = Spans::new(config).unwrap().sample_batch(line(&padding), Some(&padding), &keys).unwrap();
        for (row, &real_len) in padding.lengths().iter().enumerate() {
            prop_assert!((1..real_len).contains(&mask.hidden_count(row)), "{}", mask);
        }
    }

    #[test]
    fn cut_rows_all_hide_as_many_as_the_emptiest(padding in ragged(20, 90), key in key()) {
        let keys = batch_keys(key, padding.rows());
        let draw = |equal_counts| {
            let config = SpansConfig { equal_counts, ..SpansConfig::default() };
            Spans::new(config).unwrap().sample_batch(line(&padding), Some(&padding), &keys).unwrap()
        };
        let (free, cut) = (draw(EqualCounts::Off {}), draw(EqualCounts::CutToFewest {}));
        let fewest = counts(&free).into_iter().min().unwrap();
        prop_assert_eq!(counts(&cut), vec![fewest; padding.rows()]);
        // Nothing is hidden that the spans do not cover.
        prop_assert!(cut.as_slice().iter().zip(free.as_slice()).all(|(cut, free)| free | !cut));
    }

    #[test]
    fn filled_rows_all_hide_as_many_as_the_fullest(padding in ragged(60, 90), key in key()) {
        let keys = batch_keys(key, padding.rows());
        let draw = |equal_counts| {
            let config = SpansConfig { mask_prob: 0.4, equal_counts, ..SpansConfig::default() };
            Spans::new(config).unwrap().sample_batch(line(&padding), Some(&padding), &keys).unwrap()
        };
        let (free, filled) = (draw(EqualCounts::Off {}), draw(EqualCounts::FillToMost { hide_padding: false }));
        let most = counts(&free).into_iter().max().unwrap();
        prop_assert_eq!(counts(&filled), vec![most; padding.rows()]);
        prop_assert!(filled.as_slice().iter().zip(free.as_slice()).all(|(filled, free)| filled | !free));
        for (row, &real_len) in padding.lengths().iter().enumerate() {
            prop_assert!(filled.hidden(row).all(|position| position < real_len));
        }
    }

    #[test]
    fn free_spans_are_whole_and_spare_the_last_position(
        mask_prob in 0.0..=1.0, mask_length in 2..12usize, min_masks in 0..2usize, real_len in 40..200usize,
        key in key(),
    ) {
        // Rows of at most mask_length + most_spans positions, where spans are cut off, do not occur here.
        let most_spans = (mask_prob * real_len as f64 / mask_length as f64) as usize + 1;
        let equal_counts = EqualCounts::Off {};
        let config = SpansConfig { mask_prob, mask_length, min_masks, equal_counts, ..SpansConfig::default() };
        let row = Spans::new(config).unwrap().sample_row(Positions::Line { len: real_len }, real_len, key).unwrap();
        prop_assert!(!row[real_len - 1]);
        let mask = Mask::new(1, real_len, row).unwrap();
        prop_assert!(mask.runs(0).all(|run| run.len() >= mask_length), "{}", mask);
        // Without a least number of spans (channels) a row may have none.
        let hidden = mask.hidden_count(0);
        prop_assert!((min_masks * mask_length..=most_spans * mask_length).contains(&hidden), "{}", mask);
    }

    #[test]
    fn spans_apart_keep_their_length_and_distance(
        mask_prob in 0.0..=1.0, mask_length in 1..9usize, min_space in 1..5usize, real_len in 20..150usize, key in key(),
    ) {
        let config = SpansConfig {
            mask_prob, mask_length, overlap: Overlap::Forbidden { min_space }, equal_counts: EqualCounts::Off {},
            ..SpansConfig::default()
        };
        let row = Spans::new(config).unwrap().sample_row(Positions::Line { len: real_len }, real_len, key).unwrap();
        let mask = Mask::new(1, real_len, row).unwrap();
        let runs: Vec<_> = mask.runs(0).collect();
        prop_assert!(runs.iter().all(|run| run.len() == mask_length), "{}", mask);
        prop_assert!(runs.windows(2).all(|pair| pair[1].start - pair[0].end >= min_space), "{}", mask);
    }

    #[test]
    fn mask_dropout_shows_its_share_again(
        mask_dropout in 0.0..0.99, padding in ragged(20, 90), key in key(),
    ) {
        let keys = batch_keys(key, padding.rows());
        let draw = |mask_dropout| {
            let config = SpansConfig { mask_dropout, ..SpansConfig::default() };
            Spans::new(config).unwrap().sample_batch(line(&padding), Some(&padding), &keys).unwrap()
        };
        let (all, dropped) = (draw(0.0), draw(mask_dropout));
        for (before, after) in counts(&all).into_iter().zip(counts(&dropped)) {
            prop_assert_eq!(after, before - (mask_dropout * before as f64).round_ties_even() as usize);
        }
        prop_assert!(dropped.as_slice().iter().zip(all.as_slice()).all(|(dropped, all)| all | !dropped));
    }
}

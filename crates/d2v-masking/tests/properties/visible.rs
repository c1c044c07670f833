//! Laws of random masks and of what the student gets.

use d2v_masking::{MaskSampler, Positions, Random, RandomConfig, VisibleOrder};
use proptest::prelude::*;

use crate::{batch_keys, cases, key, line, ragged};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_masks_keep_an_exact_share(percent in 0..100usize, len in 1..300usize, key in key()) {
        let visible = len * (100 - percent) / 100;
        let random = Random::new(RandomConfig { mask_prob: percent as f64 / 100.0, ..Default::default() }).unwrap();
        match random.sample_row(Positions::Line { len }, len, key) {
            Ok(row) => prop_assert_eq!(row.iter().filter(|&&hidden| !hidden).count(), visible),
            Err(error) => prop_assert_eq!(visible, 0, "{}", error),
        }
    }

    #[test]
    fn the_visible_order_leads_back(len in 2..100usize, mask_prob in 0.0..0.9, key in key()) {
        let sampler = Random::new(RandomConfig { mask_prob, ..Default::default() }).unwrap();
        let Ok(mask) = sampler.sample_batch(Positions::Line { len }, None, &batch_keys(key, 3)) else {
            return Ok(());
        };
        let order = VisibleOrder::new(&mask, None).unwrap();
        for row in 0..3 {
            let keep = &order.ids_keep()[row * order.keep_len()..(row + 1) * order.keep_len()];
            let restore = &order.ids_restore()[row * len..(row + 1) * len];
            prop_assert!(keep.iter().map(|&id| id as usize).eq(mask.visible(row)));
            let mut sorted = restore.to_vec();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..len as i64));
            // Kept positions, then a filler, gathered by ids_restore: each kept one is back in its place.
            let shuffled: Vec<i64> = keep.iter().copied().chain(std::iter::repeat_n(-1, len - keep.len())).collect();
            for (position, &hidden) in mask.row(row).iter().enumerate() {
                let back = shuffled[restore[position] as usize];
                prop_assert_eq!(back, if hidden { -1 } else { position as i64 });
            }
        }
    }

    #[test]
    fn the_visible_order_of_ragged_rows_shows_nothing_hidden(padding in ragged(4, 60), key in key()) {
        let keys = batch_keys(key, padding.rows());
        let sampler = Random::new(RandomConfig { mask_prob: 0.6, ..Default::default() }).unwrap();
        let mask = sampler.sample_batch(line(&padding), Some(&padding), &keys).unwrap();
        let order = VisibleOrder::new(&mask, Some(&padding)).unwrap();
        for (row, &real_len) in padding.lengths().iter().enumerate() {
            let at = row * order.keep_len()..(row + 1) * order.keep_len();
            let kept = order.ids_keep()[at.clone()].iter().zip(&order.kept_padding()[at]);
            let mut real = 0;
            for (&id, &padded) in kept {
                prop_assert!(!mask.row(row)[id as usize]);
                prop_assert_eq!(padded, id as usize >= real_len);
                real += usize::from(!padded);
            }
            prop_assert_eq!(real, real_len - mask.hidden_count(row));
        }
    }
}

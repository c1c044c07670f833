//! Laws of BEiT's blocks and of data2vec 2.0's.

use d2v_masking::{
    BlockCount, Blocks, BlocksConfig, BlocksV2, BlocksV2Config, Error, MaskKey, MaskSampler, Positions,
};
use proptest::prelude::*;

use crate::{batch_keys, cases, counts, key};

/// Whether every position that is on lies in a window of `side`, cut off at the border, that is all on.
fn is_union_of_windows(row: &[bool], height: usize, width: usize, sides: (usize, usize)) -> bool {
    let mut covered = vec![false; row.len()];
    for centre in 0..row.len() {
        let (y, x) = (centre / width, centre % width);
        let span = |at: usize, side: usize, limit: usize| {
            at.saturating_sub(side / 2)..(at + side - side / 2).min(limit)
        };
        let window: Vec<usize> = span(y, sides.0, height)
            .flat_map(|y| span(x, sides.1, width).map(move |x| y * width + x))
            .collect();
        if window.iter().all(|&position| row[position]) {
            window.iter().for_each(|&position| covered[position] = true);
        }
    }
    covered == row
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn blocks_hide_something_and_never_more_than_the_target(
        side in 6..20usize, share in 0.1..0.95, key in key(),
    ) {
        let target_count = (share * (side * side) as f64) as usize;
        let blocks = Blocks::new(BlocksConfig { target_count, min_block: 4, ..BlocksConfig::default() }).unwrap();
        let positions = Positions::Grid { height: side, width: side };
        let count = blocks.sample_row(positions, side * side, key).unwrap().iter().filter(|&&hidden| hidden).count();
        prop_assert!((1..=target_count).contains(&count), "{} of {}", count, target_count);
    }

    /// A target of just one block of a known shape gives that rectangle, somewhere.
    #[test]
    fn a_block_is_a_rectangle_of_the_shape_drawn(
        (h, w) in (1..19usize, 1..19usize), (more_height, more_width) in (1..9usize, 1..9usize), key in key(),
    ) {
        let (height, width) = (h + more_height, w + more_width);
        let (area, aspect) = (h * w, h as f64 / w as f64);
        let config = BlocksConfig {
            target_count: area, min_block: area, max_block: area, min_aspect: aspect, max_aspect: aspect,
        };
        let row = Blocks::new(config).unwrap()
            .sample_row(Positions::Grid { height, width }, height * width, key).unwrap();
        let first = row.iter().position(|&hidden| hidden).unwrap();
        let (top, left) = (first / width, first % width);
        for (position, &hidden) in row.iter().enumerate() {
            let (y, x) = (position / width, position % width);
            prop_assert_eq!(hidden, (top..top + h).contains(&y) && (left..left + w).contains(&x));
        }
    }

    #[test]
    fn blocks_of_v2_hide_an_exact_count(
        percent in 0..100usize, mask_length in 2..7usize, inverse in any::<bool>(),
        height in 1..20usize, width in 2..20usize, key in key(),
    ) {
        let mask_prob = percent as f64 / 100.0;
        let cells = height * width;
        let hidden = if inverse { cells - cells * (100 - percent) / 100 } else { cells * percent / 100 };
        let sampler =
            BlocksV2::new(BlocksV2Config { mask_prob, mask_length, inverse, ..Default::default() }).unwrap();
        for positions in [Positions::Grid { height, width }, Positions::Line { len: cells }] {
            match sampler.sample_batch(positions, None, &batch_keys(key, 3)) {
                Ok(mask) => {
                    prop_assert_eq!(counts(&mask), vec![hidden; 3]);
                    prop_assert_eq!(counts(&mask.inverse()), vec![cells - hidden; 3]);
                }
                Err(error) => prop_assert_eq!(hidden, cells, "{}", error),
            }
        }
    }

    #[test]
    fn blocks_of_v2_as_laid_are_windows_around_centres(
        covered in 0.1..0.6, inverse in any::<bool>(), mask_length in 2..6usize,
        height in 6..16usize, width in 6..16usize, key in key(),
    ) {
        let mask_prob = if inverse { 1.0 - covered } else { covered };
        let config =
            BlocksV2Config { mask_prob, mask_length, inverse, count: BlockCount::AsLaid, ..Default::default() };
        let sampler = BlocksV2::new(config.clone()).unwrap();
        let cells = height * width;
        let share = covered + config.mask_prob_adjust;
        for (positions, sides, dims) in [
            (Positions::Grid { height, width }, (mask_length, mask_length), (height, width)),
            (Positions::Line { len: cells }, (1, mask_length), (1, cells)),
        ] {
            let row: Vec<bool> = match sampler.sample_row(positions, cells, key) {
                Ok(row) => row.into_iter().map(|hidden| hidden != inverse).collect(),
                // Windows may happen to cover a small grid wholly or, inverse, be none: both are refused.
                Err(Error::NothingVisible { .. }) => continue,
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            prop_assert!(is_union_of_windows(&row, dims.0, dims.1, sides));
            let most = cells as f64 * share + 1e-6;
            prop_assert!(row.iter().filter(|&&hidden| hidden).count() as f64 <= most);
        }
    }

    #[test]
    fn clones_of_a_sample_get_different_masks(key in key()) {
        let keys: Vec<MaskKey> = (0..16).map(|clone| MaskKey { clone, ..key }).collect();
        let sampler = BlocksV2::new(BlocksV2Config::image_base()).unwrap();
        let mask = sampler.sample_batch(Positions::Grid { height: 14, width: 14 }, None, &keys).unwrap();
        for row in 1..16 {
            prop_assert!((0..row).all(|earlier| mask.row(earlier) != mask.row(row)));
        }
    }
}

//! Which positions data2vec 2.0's student gets, and how its outputs return to their places.

use rand::seq::SliceRandom;

use crate::key::domain;
use crate::{Error, Mask, MaskKey, PaddingMask, Result};

/// The order in which the visible positions of each row are given to the student, and the way back (data2vec 2.0 and MAE).
///
/// Row by row, `ids_shuffle` lists the visible positions, then the padded ones, then the hidden ones, each ascending
/// (a stable sort by class). The student gets the first `keep_len` of them; `ids_restore` is the inverse permutation.
///
/// Differs from the reference: its sort is not stable, which gives the visible positions in some arbitrary order, and
/// it takes the number to keep from the first row whatever the others need. Here that is an error.
///
/// ```
/// use d2v_masking::{Mask, VisibleOrder};
///
/// let mask = Mask::new(1, 5, vec![true, false, true, false, false])?;
/// let order = VisibleOrder::new(&mask, None)?;
/// assert_eq!(order.ids_keep(), [1, 3, 4]);
/// assert_eq!(order.ids_restore(), [3, 0, 4, 1, 2]);
///
/// // Back in place: a kept token where it was, a filler elsewhere.
/// let kept_then_filler = ["b", "d", "e", "?", "?"];
/// let restored: Vec<_> = order.ids_restore().iter().map(|&id| kept_then_filler[id as usize]).collect();
/// assert_eq!(restored, ["?", "b", "?", "d", "e"]);
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleOrder {
    rows: usize,
    len: usize,
    keep_len: usize,
    ids_keep: Vec<i64>,
    ids_restore: Vec<i64>,
    kept_padding: Vec<bool>,
}

impl VisibleOrder {
    /// The order of a mask's visible positions.
    ///
    /// With `padding`, as many are kept in every row as the row with the most visible real positions has; the others are
    /// filled up with padded positions, which [`kept_padding`](Self::kept_padding) says so that attention can leave them
    /// out.
    ///
    /// # Errors
    /// [`Error::PaddingShape`]; [`Error::UnequalVisible`] for a row that cannot keep as many without showing a hidden
    /// position.
    pub fn new(mask: &Mask, padding: Option<&PaddingMask>) -> Result<Self> {
        Self::ordered(mask, padding, 0.0, |_, _| {})
    }

    /// The same where the student also keeps `share` (0 to 1) of each row's hidden positions, rounded to the nearest count
    /// and chosen at random by the row's key. The reference's `keep_masked_pct`, 0 in all its configurations.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`Error::Setting`] for a share outside 0 to 1; [`Error::KeyCount`] unless there is one
    /// key per row.
    pub fn with_hidden_kept(
        mask: &Mask,
        padding: Option<&PaddingMask>,
        share: f64,
        keys: &[MaskKey],
    ) -> Result<Self> {
        crate::error::check_share("keep_masked_pct", share)?;
        if keys.len() != mask.rows() {
            return Err(Error::KeyCount { keys: keys.len(), rows: mask.rows() });
        }
        Self::ordered(mask, padding, share, |row, hidden| {
            hidden.shuffle(&mut keys[row].rng_for(domain::KEEP));
        })
    }

    fn ordered(
        mask: &Mask,
        padding: Option<&PaddingMask>,
        share: f64,
        order_hidden: impl Fn(usize, &mut [usize]),
    ) -> Result<Self> {
        let (rows, len) = (mask.rows(), mask.len());
        if let Some(padding) = padding
            && (padding.rows(), padding.len()) != (rows, len)
        {
            return Err(Error::PaddingShape { rows, len, got_rows: padding.rows(), got_len: padding.len() });
        }
        let real_len = |row: usize| padding.map_or(len, |padding| padding.lengths()[row]);
        let kept_hidden = |row: usize| (share * mask.hidden_count(row) as f64).round_ties_even() as usize;
        let wanted = |row: usize| {
            mask.row(row)[..real_len(row)].iter().filter(|&&hidden| !hidden).count() + kept_hidden(row)
        };
        let keep_len = (0..rows).map(wanted).max().unwrap_or(0);

        let mut ids_keep = Vec::with_capacity(rows * keep_len);
        let mut kept_padding = Vec::with_capacity(rows * keep_len);
        let mut ids_restore = vec![0; rows * len];
        let (mut order, mut hidden) = (Vec::with_capacity(len), Vec::with_capacity(len));
        for row in 0..rows {
            let real_len = real_len(row);
            hidden.clear();
            hidden.extend(mask.hidden(row));
            order_hidden(row, &mut hidden);
            let (extra, rest) = hidden.split_at(kept_hidden(row));
            if len - rest.len() < keep_len {
                return Err(Error::UnequalVisible { row, expected: keep_len, got: len - rest.len() });
            }
            order.clear();
            order.extend(mask.visible(row).take_while(|&position| position < real_len));
            order.extend_from_slice(extra);
            order.extend(mask.visible(row).skip_while(|&position| position < real_len));
            order.extend_from_slice(rest);

            let restore = &mut ids_restore[row * len..(row + 1) * len];
            for (rank, &position) in order.iter().enumerate() {
                restore[position] = rank as i64;
            }
            ids_keep.extend(order[..keep_len].iter().map(|&position| position as i64));
            kept_padding.extend(order[..keep_len].iter().map(|&position| position >= real_len));
        }
        Ok(Self { rows, len, keep_len, ids_keep, ids_restore, kept_padding })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of positions in each row, hidden ones included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length per row, not of a collection")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many positions of each row the student gets.
    #[must_use]
    pub fn keep_len(&self) -> usize {
        self.keep_len
    }

    /// The positions that the student gets: rows x `keep_len` in row-major order.
    #[must_use]
    pub fn ids_keep(&self) -> &[i64] {
        &self.ids_keep
    }

    /// Where each position of a row went: rows x `len` in row-major order, every row a permutation of 0 to `len` - 1.
    /// Ranks from `keep_len` on are positions that the student does not get.
    #[must_use]
    pub fn ids_restore(&self) -> &[i64] {
        &self.ids_restore
    }

    /// Which of the kept positions are padding: rows x `keep_len`, true = not real.
    #[must_use]
    pub fn kept_padding(&self) -> &[bool] {
        &self.kept_padding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        Mask::from_rows(rows.iter().map(|row| row.chars().map(|c| c == '#').collect::<Vec<_>>())).unwrap()
    }

    #[test]
    fn rows_of_unequal_count_are_refused() {
        let error = VisibleOrder::new(&mask(&["#...", "##.."]), None);
        assert_eq!(error, Err(Error::UnequalVisible { row: 1, expected: 3, got: 2 }));
    }

    #[test]
    fn padding_fills_shorter_rows() {
        let padding = PaddingMask::from_lengths(&[6, 3], 6).unwrap();
        let order = VisibleOrder::new(&mask(&["#.#.#.", ".#...."]), Some(&padding)).unwrap();
        assert_eq!((order.rows(), order.len(), order.keep_len()), (2, 6, 3));
        assert_eq!(order.ids_keep(), [1, 3, 5, 0, 2, 3]);
        assert_eq!(order.kept_padding(), [false, false, false, false, false, true]);
        assert_eq!(order.ids_restore(), [3, 0, 4, 1, 5, 2, 0, 5, 1, 2, 3, 4]);
    }

    #[test]
    fn a_share_of_the_hidden_can_be_kept() {
        let mask = mask(&["####....", "..####.."]);
        let keys = [1, 2].map(|sample_id| MaskKey { sample_id, ..MaskKey::default() });
        let order = VisibleOrder::with_hidden_kept(&mask, None, 0.5, &keys).unwrap();
        assert_eq!(order.keep_len(), 6);
        for row in 0..2 {
            let kept = &order.ids_keep()[row * 6..(row + 1) * 6];
            let hidden = kept.iter().filter(|&&position| mask.row(row)[position as usize]).count();
            assert_eq!(hidden, 2);
        }
        let none = VisibleOrder::with_hidden_kept(&mask, None, 0.0, &keys).unwrap();
        assert_eq!(none.ids_keep(), VisibleOrder::new(&mask, None).unwrap().ids_keep());
        assert!(VisibleOrder::with_hidden_kept(&mask, None, 1.5, &keys).is_err());
        let keys = VisibleOrder::with_hidden_kept(&mask, None, 0.5, &keys[..1]);
        assert_eq!(keys, Err(Error::KeyCount { keys: 1, rows: 2 }));
    }

    #[test]
    fn empty_masks_have_an_order() {
        let order = VisibleOrder::new(&Mask::new(0, 4, Vec::new()).unwrap(), None).unwrap();
        assert_eq!((order.keep_len(), order.ids_keep()), (0, &[][..]));
    }
}

//! What all samplers have in common: rows drawn each from its key, in parallel.

use std::fmt::Debug;

use rayon::prelude::*;

use crate::{Error, Mask, MaskKey, PaddingMask, Positions, Result};

/// The most cells, rows times positions, that a batch of masks may have: far more than any batch, far less than
/// memory.
pub const MAX_CELLS: usize = 1 << 31;

/// Below this many cells a batch is drawn on the calling thread: waking others takes longer than the draw.
const PARALLEL_CELLS: usize = 1 << 15;

/// One row that is to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRequest {
    /// The layout of the row's positions.
    pub positions: Positions,
    /// How many positions are real; the rest is padding. On a grid, all of them.
    pub real_len: usize,
    /// What the row is a function of.
    pub key: MaskKey,
}

/// Draws masks.
///
/// A sampler is a function of its settings and of the rows' keys alone. [`sample_batch`](Self::sample_batch) is the
/// entry: some samplers give the rows of a batch equal counts, which a single row cannot know.
pub trait MaskSampler: Send + Sync + Debug {
    /// Sets the hidden positions of one row to true. `row` has one value per position, all false, when this is
    /// called; `scratch` is a buffer whose content means nothing, kept to spare allocations.
    ///
    /// This is what a new sampler implements; whoever wants a mask calls one of the other methods.
    ///
    /// # Errors
    /// Where the settings do not suit the positions or the row's length; the sampler's documentation says when.
    fn fill_row(&self, request: &RowRequest, scratch: &mut Vec<u32>, row: &mut [bool]) -> Result<()>;

    /// Changes rows in the light of the whole batch, after all are drawn; does nothing unless a sampler says so.
    ///
    /// # Errors
    /// Where the rows cannot be brought together; the sampler's documentation says when.
    fn settle_batch(&self, _rows: &mut [(RowRequest, &mut [bool])]) -> Result<()> {
        Ok(())
    }

    /// Draws one row per key: a mask of shape (keys, positions).
    ///
    /// Large batches are drawn by rayon's threads; the result is the same for any number of them. Without `padding`
    /// all positions are real.
    ///
    /// # Errors
    /// [`Error::NoPositions`], [`Error::TooManyCells`]; [`Error::PaddingShape`] where the padding does not fit the
    /// keys and positions; [`Error::PaddedGrid`]; and the errors of [`fill_row`](Self::fill_row) and
    /// [`settle_batch`](Self::settle_batch), of the first row that has one.
    fn sample_batch(
        &self,
        positions: Positions,
        padding: Option<&PaddingMask>,
        keys: &[MaskKey],
    ) -> Result<Mask> {
        let requests = requests(positions, padding, keys)?;
        let len = positions.len();
        let mut hidden = vec![false; keys.len() * len];
        let mut rows: Vec<_> = requests.into_iter().zip(hidden.chunks_exact_mut(len)).collect();
        for_each_row(&mut rows, |request, scratch, row| self.fill_row(request, scratch, row))?;
        self.settle_batch(&mut rows)?;
        Mask::new(keys.len(), len, hidden)
    }

    /// Draws a single row of `real_len` real positions, as a batch of its own.
    ///
    /// # Errors
    /// Those of [`sample_batch`](Self::sample_batch).
    fn sample_row(&self, positions: Positions, real_len: usize, key: MaskKey) -> Result<Vec<bool>> {
        let padding = PaddingMask::from_lengths(&[real_len], positions.len())?;
        Ok(self.sample_batch(positions, Some(&padding), &[key])?.as_slice().to_vec())
    }
}

/// Checks a batch's shape before anything is allocated for it, and says what to draw.
fn requests(
    positions: Positions,
    padding: Option<&PaddingMask>,
    keys: &[MaskKey],
) -> Result<Vec<RowRequest>> {
    let (rows, len) = (keys.len(), positions.len());
    if len == 0 {
        return Err(Error::NoPositions);
    }
    if rows.checked_mul(len).is_none_or(|cells| cells > MAX_CELLS) {
        return Err(Error::TooManyCells { rows, len, limit: MAX_CELLS });
    }
    if let Some(padding) = padding
        && (padding.rows(), padding.len()) != (rows, len)
    {
        return Err(Error::PaddingShape { rows, len, got_rows: padding.rows(), got_len: padding.len() });
    }
    let request = |(row, &key): (usize, &MaskKey)| {
        let real_len = padding.map_or(len, |padding| padding.lengths()[row]);
        match positions {
            Positions::Grid { .. } if real_len < len => {
                Err(Error::PaddedGrid { sample_id: key.sample_id, real_len, len })
            }
            _ => Ok(RowRequest { positions, real_len, key }),
        }
    };
    keys.iter().enumerate().map(request).collect()
}

/// Applies `work` to every row, in parallel where that pays; of several errors the first row's is returned.
pub(crate) fn for_each_row(
    rows: &mut [(RowRequest, &mut [bool])],
    work: impl Fn(&RowRequest, &mut Vec<u32>, &mut [bool]) -> Result<()> + Sync,
) -> Result<()> {
    let cells: usize = rows.iter().map(|(_, row)| row.len()).sum();
    if cells < PARALLEL_CELLS {
        let mut scratch = Vec::new();
        return rows.iter_mut().try_for_each(|(request, row)| work(request, &mut scratch, row));
    }
    let results: Vec<Result<()>> = rows
        .par_iter_mut()
        .map_init(Vec::new, |scratch, (request, row)| work(request, scratch, row))
        .collect();
    results.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaskConfig;

    const KEY: MaskKey = MaskKey { seed: 1, epoch: 2, sample_id: 3, clone: 0 };

    #[track_caller]
    fn check_error(positions: Positions, padding: Option<&PaddingMask>, keys: &[MaskKey], expected: Error) {
        let sampler = MaskConfig::Random(Default::default()).build().unwrap();
        assert_eq!(sampler.sample_batch(positions, padding, keys), Err(expected));
    }

    #[test]
    fn shapes_are_checked_before_anything_is_allocated() {
        let huge = usize::MAX / 2;
        check_error(Positions::Line { len: 0 }, None, &[KEY], Error::NoPositions);
        check_error(
            Positions::Line { len: huge },
            None,
            &[KEY; 3],
            Error::TooManyCells { rows: 3, len: huge, limit: MAX_CELLS },
        );
        check_error(
            Positions::Grid { height: huge, width: huge },
            None,
            &[KEY],
            Error::TooManyCells { rows: 1, len: usize::MAX, limit: MAX_CELLS },
        );
        let padding = PaddingMask::from_lengths(&[3], 4).unwrap();
        check_error(
            Positions::Line { len: 4 },
            Some(&padding),
            &[KEY; 2],
            Error::PaddingShape { rows: 2, len: 4, got_rows: 1, got_len: 4 },
        );
        check_error(
            Positions::Grid { height: 2, width: 2 },
            Some(&padding),
            &[KEY],
            Error::PaddedGrid { sample_id: 3, real_len: 3, len: 4 },
        );
    }

    #[test]
    fn no_keys_give_no_rows() {
        let sampler = MaskConfig::Random(Default::default()).build().unwrap();
        let mask = sampler.sample_batch(Positions::Line { len: 9 }, None, &[]).unwrap();
        assert_eq!((mask.rows(), mask.len()), (0, 9));
    }
}

//! The mask: which positions of each row are hidden.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use crate::{Error, Result};

/// Which positions of a batch are hidden from the student: `rows` x `len` booleans, **true = hidden**.
///
/// A row is one sample, or one clone of a sample in data2vec 2.0 (the clones of a sample are adjacent).
/// Views (rows, indices, runs) borrow; nothing is copied but where a method returns a `Mask` or a `Vec`.
///
/// ```
/// use d2v_masking::Mask;
///
/// let mask = Mask::new(2, 4, vec![false, true, true, false, true, false, false, true])?;
/// assert_eq!(mask.hidden(0).collect::<Vec<_>>(), [1, 2]);
/// assert_eq!(mask.runs(1).collect::<Vec<_>>(), [0..1, 3..4]);
/// assert_eq!(mask.flat_hidden(), [1, 2, 4, 7]);
/// assert_eq!(mask.to_string(), ".##.\n#..#");
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mask {
    rows: usize,
    len: usize,
    hidden: Vec<bool>,
}

impl Mask {
    /// A mask of `rows` rows of `len` positions from its values in row-major order, true = hidden.
    ///
    /// # Errors
    /// [`Error::MaskShape`] unless there are `rows` x `len` values.
    pub fn new(rows: usize, len: usize, hidden: Vec<bool>) -> Result<Self> {
        if rows.checked_mul(len) != Some(hidden.len()) {
            return Err(Error::MaskShape { rows, len, got: hidden.len() });
        }
        Ok(Self { rows, len, hidden })
    }

    /// A mask from its rows.
    ///
    /// # Errors
    /// [`Error::RowLength`] unless all rows have the length of the first.
    pub fn from_rows<R: AsRef<[bool]>>(rows: impl IntoIterator<Item = R>) -> Result<Self> {
        let mut hidden = Vec::new();
        let mut len = None;
        let mut count = 0;
        for (row, values) in rows.into_iter().enumerate() {
            let values = values.as_ref();
            let expected = *len.get_or_insert(values.len());
            if values.len() != expected {
                return Err(Error::RowLength { row, expected, got: values.len() });
            }
            hidden.extend_from_slice(values);
            count += 1;
        }
        Ok(Self { rows: count, len: len.unwrap_or(0), hidden })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of positions in each row.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length per row, not of a collection")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// One row.
    ///
    /// # Panics
    /// If `row` is not below [`Mask::rows`]; so do all methods that take a row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[bool] {
        assert!(row < self.rows, "row {row} of a mask of {} rows", self.rows);
        &self.hidden[row * self.len..(row + 1) * self.len]
    }

    /// All values in row-major order.
    #[must_use]
    pub fn as_slice(&self) -> &[bool] {
        &self.hidden
    }

    /// How many positions of a row are hidden.
    #[must_use]
    pub fn hidden_count(&self, row: usize) -> usize {
        count_hidden(self.row(row))
    }

    /// How many positions are hidden in all rows.
    #[must_use]
    pub fn total_hidden(&self) -> usize {
        count_hidden(&self.hidden)
    }

    /// The share of all positions, padding included, that is hidden: 0 to 1, and 0 for an empty mask.
    #[must_use]
    pub fn hidden_fraction(&self) -> f64 {
        if self.hidden.is_empty() { 0.0 } else { self.total_hidden() as f64 / self.hidden.len() as f64 }
    }

    /// The hidden positions of a row, ascending.
    pub fn hidden(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        positions_of(self.row(row), true)
    }

    /// The visible positions of a row, ascending; padding counts as visible.
    pub fn visible(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        positions_of(self.row(row), false)
    }

    /// `row * len + position` of every hidden position in row-major order: indices into the flattened batch, as
    /// libtorch takes them.
    #[must_use]
    pub fn flat_hidden(&self) -> Vec<i64> {
        positions_of(&self.hidden, true).map(|index| index as i64).collect()
    }

    /// The maximal runs of hidden positions of a row, ascending.
    pub fn runs(&self, row: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let values = self.row(row);
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = next + values[next..].iter().position(|&hidden| hidden)?;
            let len = values[start..].iter().take_while(|&&hidden| hidden).count();
            next = start + len;
            Some(start..next)
        })
    }

    /// The mask that hides what this one shows.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self { hidden: self.hidden.iter().map(|hidden| !hidden).collect(), ..*self }
    }

    /// The positions `range` of every row.
    ///
    /// # Errors
    /// [`Error::BeyondMask`] unless the range lies within a row.
    pub fn crop(&self, range: Range<usize>) -> Result<Self> {
        if range.end > self.len {
            return Err(Error::BeyondMask { what: "position", index: range.end, limit: self.len });
        }
        if range.start > range.end {
            return Err(Error::BeyondMask { what: "position", index: range.start, limit: range.end });
        }
        let hidden = (0..self.rows).flat_map(|row| &self.row(row)[range.clone()]).copied().collect();
        Ok(Self { rows: self.rows, len: range.len(), hidden })
    }

    /// The rows with these numbers, in this order; a row may be taken more than once.
    ///
    /// # Errors
    /// [`Error::BeyondMask`] for a row that there is not.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&index) = rows.iter().find(|&&row| row >= self.rows) {
            return Err(Error::BeyondMask { what: "row", index, limit: self.rows });
        }
        let hidden = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Ok(Self { rows: rows.len(), len: self.len, hidden })
    }

    /// The mask as an array of shape (rows, len), borrowed.
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, bool> {
        ArrayView2::from_shape((self.rows, self.len), &self.hidden)
            .expect("the constructors keep the number of values at rows x len")
    }

    /// The mask as an array of shape (rows, len), copied.
    #[must_use]
    pub fn to_array(&self) -> Array2<bool> {
        self.view().to_owned()
    }
}

/// How many of these positions are hidden.
pub(crate) fn count_hidden(values: &[bool]) -> usize {
    values.iter().map(|&hidden| usize::from(hidden)).sum()
}

/// The positions with this value, ascending.
fn positions_of(values: &[bool], wanted: bool) -> impl Iterator<Item = usize> + '_ {
    values.iter().enumerate().filter_map(move |(position, &hidden)| (hidden == wanted).then_some(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        Mask::from_rows(rows.iter().map(|row| row.chars().map(|c| c == '#').collect::<Vec<_>>())).unwrap()
    }

    #[track_caller]
    fn check_runs(row: &str, expected: &[Range<usize>]) {
        assert_eq!(mask(&[row]).runs(0).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn runs_are_maximal() {
        check_runs("", &[]);
        check_runs("...", &[]);
        check_runs("###.#", &[0..3, 4..5]);
        check_runs("#.##..#", &[0..1, 2..4, 6..7]);
    }

    #[test]
    fn views_agree() {
        let mask = mask(&["#..#", ".##.", "...."]);
        assert_eq!((mask.rows(), mask.len()), (3, 4));
        assert_eq!(mask.hidden(1).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(mask.visible(1).collect::<Vec<_>>(), [0, 3]);
        assert_eq!((mask.hidden_count(0), mask.hidden_count(2), mask.total_hidden()), (2, 0, 4));
        assert_eq!(mask.flat_hidden(), [0, 3, 5, 6]);
        assert_eq!(mask.hidden_fraction(), 4.0 / 12.0);
        assert_eq!(mask.inverse().to_string(), ".##.\n#..#\n####");
        assert_eq!(mask.crop(1..3).unwrap().to_string(), "..\n##\n..");
        assert_eq!(mask.select_rows(&[1, 1, 0]).unwrap().to_string(), ".##.\n.##.\n#..#");
        assert!(mask.to_array()[[1, 2]]);
    }

    #[test]
    fn empty_masks_are_allowed() {
        for (rows, len) in [(0, 0), (0, 5), (3, 0)] {
            let mask = Mask::new(rows, len, Vec::new()).unwrap();
            assert_eq!((mask.total_hidden(), mask.hidden_fraction()), (0, 0.0));
            assert_eq!(mask.to_array().dim(), (rows, len));
        }
    }

    #[test]
    fn shapes_are_checked() {
        assert_eq!(Mask::new(2, 3, vec![true; 5]), Err(Error::MaskShape { rows: 2, len: 3, got: 5 }));
        assert!(Mask::new(usize::MAX, 2, Vec::new()).is_err());
        assert_eq!(
            Mask::from_rows([vec![true], vec![true, false]]),
            Err(Error::RowLength { row: 1, expected: 1, got: 2 })
        );
        let mask = mask(&["#.."]);
        assert_eq!(mask.crop(1..4), Err(Error::BeyondMask { what: "position", index: 4, limit: 3 }));
        assert_eq!(mask.select_rows(&[1]), Err(Error::BeyondMask { what: "row", index: 1, limit: 1 }));
        #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
        let reversed = mask.crop(2..1);
        assert!(reversed.is_err());
    }
}

//! Padding: positions that are not real.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which positions of a batch only fill a row up: **true = not real**. Padding stands at the end of a row, so a
/// row's real length says all.
///
/// ```
/// use d2v_masking::PaddingMask;
///
/// let padding = PaddingMask::from_lengths(&[3, 1], 4)?;
/// assert_eq!(padding.to_vec(), [false, false, false, true, false, true, true, true]);
/// assert_eq!(padding.lengths(), [3, 1]);
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PaddingMask {
    lengths: Vec<usize>,
    len: usize,
}

impl PaddingMask {
    /// Rows of `len` positions of which the first `lengths[row]` are real.
    ///
    /// # Errors
    /// [`Error::RealLength`] where a length exceeds `len`.
    pub fn from_lengths(lengths: &[usize], len: usize) -> Result<Self> {
        match lengths.iter().position(|&real_len| real_len > len) {
            Some(row) => Err(Error::RealLength { row, real_len: lengths[row], len }),
            None => Ok(Self { lengths: lengths.to_vec(), len }),
        }
    }

    /// `rows` rows of `len` positions from booleans in row-major order, true = not real.
    ///
    /// # Errors
    /// [`Error::MaskShape`] unless there are `rows` x `len` values; [`Error::PaddingInside`] where a real position
    /// follows a padded one.
    pub fn from_padded(rows: usize, len: usize, padded: &[bool]) -> Result<Self> {
        if rows.checked_mul(len) != Some(padded.len()) {
            return Err(Error::MaskShape { rows, len, got: padded.len() });
        }
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = &padded[row * len..(row + 1) * len];
            let real_len = values.iter().take_while(|&&padded| !padded).count();
            if let Some(offset) = values[real_len..].iter().position(|&padded| !padded) {
                return Err(Error::PaddingInside { row, position: real_len + offset });
            }
            lengths.push(real_len);
        }
        Ok(Self { lengths, len })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The number of positions in each row, padding included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length per row, not of a collection")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of real positions of each row.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Whether any position is padding; without any, the padding can be left away.
    #[must_use]
    pub fn any(&self) -> bool {
        self.lengths.iter().any(|&real_len| real_len < self.len)
    }

    /// One boolean per position in row-major order, true = not real.
    #[must_use]
    pub fn to_vec(&self) -> Vec<bool> {
        self.lengths
            .iter()
            .flat_map(|&real_len| (0..self.len).map(move |position| position >= real_len))
            .collect()
    }

    /// The same as an array of shape (rows, len).
    #[must_use]
    pub fn to_array(&self) -> Array2<bool> {
        Array2::from_shape_fn((self.rows(), self.len), |(row, position)| position >= self.lengths[row])
    }
}

/// Whether padded positions take part in a draw of data2vec 2.0.
///
/// Differs from the reference: there, padding can always be hidden, and then enters the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddedPositions {
    /// Padding is never hidden; counts are shares of a row's real length.
    #[default]
    NeverHidden,
    /// Padding is drawn like real positions; counts are shares of the padded length, equal in all rows. The reference's
    /// way, in which text 2.0 was trained.
    CountAsReal,
}

impl PaddedPositions {
    /// How many positions of a row take part.
    pub(crate) fn drawn_len(self, real_len: usize, len: usize) -> usize {
        match self {
            Self::NeverHidden => real_len,
            Self::CountAsReal => len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_lengths_agree() {
        let padding = PaddingMask::from_lengths(&[4, 0, 2], 4).unwrap();
        assert_eq!(PaddingMask::from_padded(3, 4, &padding.to_vec()), Ok(padding.clone()));
        assert_eq!(padding.to_array().into_raw_vec_and_offset().0, padding.to_vec());
        assert!(padding.any());
        assert!(!PaddingMask::from_lengths(&[4, 4], 4).unwrap().any());
    }

    #[test]
    fn bad_padding_is_named() {
        assert_eq!(
            PaddingMask::from_lengths(&[2, 5], 4),
            Err(Error::RealLength { row: 1, real_len: 5, len: 4 })
        );
        assert_eq!(
            PaddingMask::from_padded(1, 3, &[false, true, false]),
            Err(Error::PaddingInside { row: 0, position: 2 })
        );
        assert_eq!(
            PaddingMask::from_padded(2, 3, &[false; 5]),
            Err(Error::MaskShape { rows: 2, len: 3, got: 5 })
        );
    }
}

//! The shape of the positions that a mask covers.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a sample's positions are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Positions {
    /// Frames, tokens or channels, one after the other.
    Line {
        /// How many.
        len: usize,
    },
    /// Patches, row by row from the top left.
    Grid {
        /// Rows of patches.
        height: usize,
        /// Patches per row.
        width: usize,
    },
}

impl Positions {
    /// The number of positions; saturates where a grid's sides multiply beyond `usize`.
    ///
    /// ```
    /// # use d2v_masking::Positions;
    /// assert_eq!(Positions::Grid { height: 14, width: 14 }.len(), 196);
    /// ```
    #[must_use]
    pub const fn len(&self) -> usize {
        match *self {
            Self::Line { len } => len,
            Self::Grid { height, width } => height.saturating_mul(width),
        }
    }

    /// Whether there is no position at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The line's length; an error naming `sampler` for a grid.
    pub(crate) fn line(&self, sampler: &'static str) -> Result<usize> {
        match *self {
            Self::Line { len } => Ok(len),
            Self::Grid { height, width } => Err(Error::NeedsLine { sampler, height, width }),
        }
    }

    /// The grid's height and width; an error naming `sampler` for a line.
    pub(crate) fn grid(&self, sampler: &'static str) -> Result<(usize, usize)> {
        match *self {
            Self::Line { len } => Err(Error::NeedsGrid { sampler, len }),
            Self::Grid { height, width } => Ok((height, width)),
        }
    }
}

//! A batch and the position in the data that comes after it.

use ndarray::{Array2, Array3, Array4};
use serde::{Deserialize, Serialize};

/// A position between two batches: all that a checkpoint must keep of the loader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The next batch in it, from 0; never the number of batches, which is batch 0 of the next epoch.
    pub batch: u64,
}

/// Several samples side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The number of the batch in its epoch, from 0.
    pub batch_in_epoch: u64,
    /// Where a loader must start to continue after this batch.
    pub cursor_after: Cursor,
    /// Which samples these are, in the order of the rows of `inputs`.
    pub samples: Vec<SampleInfo>,
    /// The inputs of all samples in one array.
    pub inputs: Inputs,
}

/// What a batch tells of a sample beside its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleInfo {
    /// The stable id, see [`Dataset::id`](crate::Dataset::id).
    pub id: u64,
    /// The index in the data set.
    pub index: usize,
    /// The class, if known.
    pub label: Option<u32>,
}

/// The inputs of a batch, collated; every array is contiguous, so that `as_slice` succeeds.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Pictures, shape `[B, C = 3, H, W]`.
    Image(Array4<f32>),
    /// Sound.
    Audio {
        /// Shape `[B, C, T]`; 0 behind the end of a row.
        samples_bct: Array3<f32>,
        /// Real samples of each row, at most `T`.
        lengths: Vec<usize>,
    },
    /// Text.
    Text {
        /// Token ids, shape `[B, L]`; the padding id behind the end of a row.
        tokens_bl: Array2<u32>,
        /// Real tokens of each row, at most `L`.
        lengths: Vec<usize>,
    },
}

impl Inputs {
    /// How long the rows are in the unit of [`Dataset::length`](crate::Dataset::length): samples per channel of sound,
    /// tokens, padding included; 1 for pictures.
    pub fn row_length(&self) -> usize {
        match self {
            Self::Image(_) => 1,
            Self::Audio { samples_bct, .. } => samples_bct.dim().2,
            Self::Text { tokens_bl, .. } => tokens_bl.ncols(),
        }
    }

    /// How much of each row is real; `None` for pictures, which have no padding.
    pub fn lengths(&self) -> Option<&[usize]> {
        match self {
            Self::Image(_) => None,
            Self::Audio { lengths, .. } | Self::Text { lengths, .. } => Some(lengths),
        }
    }
}

/// A sample or entry that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name, see [`Dataset::name`](crate::Dataset::name).
    pub name: String,
    /// Why it was left out.
    pub reason: String,
}

impl Batch {
    /// The pictures, shape `[B, C, H, W]`, if these are pictures.
    pub fn images(&self) -> Option<&Array4<f32>> {
        match &self.inputs {
            Inputs::Image(images) => Some(images),
            Inputs::Audio { .. } | Inputs::Text { .. } => None,
        }
    }

    /// The stable ids, in row order.
    pub fn ids(&self) -> Vec<u64> {
        self.samples.iter().map(|sample| sample.id).collect()
    }

    /// The labels, in row order.
    pub fn labels(&self) -> Vec<Option<u32>> {
        self.samples.iter().map(|sample| sample.label).collect()
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample; loaders never deliver such a batch.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

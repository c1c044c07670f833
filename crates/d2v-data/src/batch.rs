//! A batch and the position in the data that comes after it.

use crate::dataset::{Input, Sample};
use ndarray::{Array4, ArrayView3, Axis};
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

/// The inputs of a batch, collated. Further modalities become further variants.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Inputs {
    /// Pictures, shape `[B, C = 3, H, W]`, contiguous.
    Image(Array4<f32>),
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
    /// The pictures, shape `[B, C, H, W]`, contiguous: `as_slice` always succeeds.
    pub fn images(&self) -> &Array4<f32> {
        let Inputs::Image(images) = &self.inputs;
        images
    }

    /// The pictures, by value.
    pub fn into_images(self) -> Array4<f32> {
        let Inputs::Image(images) = self.inputs;
        images
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

/// Puts samples side by side. There must be at least one, all made by one transform.
pub(crate) fn collate(samples: &[Sample]) -> (Vec<SampleInfo>, Inputs) {
    let infos =
        samples.iter().map(|&Sample { id, index, label, .. }| SampleInfo { id, index, label }).collect();
    let views: Vec<ArrayView3<'_, f32>> = samples
        .iter()
        .map(|sample| {
            let Input::Image(image) = &sample.input;
            image.view()
        })
        .collect();
    let images = ndarray::stack(Axis(0), &views).expect("one transform makes inputs of one size");
    (infos, Inputs::Image(images))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn rows_keep_their_order_and_lie_in_one_piece() {
        let samples: Vec<Sample> = (0..3_u8)
            .map(|i| Sample {
                id: u64::from(i) + 10,
                index: usize::from(i),
                label: Some(u32::from(i)),
                input: Input::Image(Array3::from_elem((3, 2, 4), f32::from(i))),
            })
            .collect();
        let (samples, inputs) = collate(&samples);
        let cursor_after = Cursor { epoch: 0, batch: 1 };
        let batch = Batch { epoch: 0, batch_in_epoch: 0, cursor_after, samples, inputs };
        assert_eq!(batch.ids(), [10, 11, 12]);
        assert_eq!(batch.labels(), [Some(0), Some(1), Some(2)]);
        assert_eq!(batch.images().dim(), (3, 3, 2, 4));
        let flat = batch.images().as_slice().expect("contiguous");
        assert!(flat.iter().enumerate().all(|(at, &value)| value == (at / 24) as f32));
    }
}

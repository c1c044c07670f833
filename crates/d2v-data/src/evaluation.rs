//! Every sample of a data set once, in index order: for probes and embeddings.

use crate::batch::{Batch, Cursor, Skipped};
use crate::dataset::Dataset;
use crate::error::Error;
use crate::pipeline::{Allowed, BatchPlan, Pipeline, Unreadable, Work};
use crate::transform::Transform;
use std::sync::Arc;

/// How a data set is gone through.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationConfig {
    /// Samples per batch, at least 1; the last batch has what is left. Default 64.
    pub batch_size: usize,
    /// Worker threads, 1 to 1,024. Default 2.
    pub threads: usize,
    /// How many batches may be under way or waiting, 1 to 4,096. Default 4.
    pub queue: usize,
    /// What is done to each sample: usually [`Transform::for_evaluation`] of the training's. A random transform is
    /// drawn with seed 0 and epoch 0.
    pub transform: Transform,
    /// How many samples may be unreadable before it is an error; what was left out when the data was opened is no
    /// sample. Default 100.
    pub unreadable_limit: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            batch_size: 64,
            threads: 2,
            queue: 4,
            transform: Transform::default().for_evaluation(),
            unreadable_limit: 100,
        }
    }
}

/// An iterator over all samples once, in index order.
///
/// An unreadable sample is left out, so that none counts twice: its batch is smaller. A batch of which nothing is left
/// is not delivered.
pub struct Evaluation {
    pipeline: Pipeline<Plans>,
}

impl Evaluation {
    /// Starts the threads and the first batches.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Spawn`].
    pub fn new(dataset: Arc<dyn Dataset>, config: EvaluationConfig) -> Result<Self, Error> {
        let EvaluationConfig { batch_size, threads, queue, transform, unreadable_limit } = config;
        if batch_size == 0 {
            return Err(Error::Setting {
                setting: "batch_size",
                value: "0".into(),
                rule: "must be at least 1",
            });
        }
        let plans = Plans { order: (0..dataset.len()).collect(), batch_size, batch: 0 };
        let work = Work { dataset, transform, seed: 0, unreadable: Unreadable::LeaveOut };
        let allowed = Allowed { limit: unreadable_limit, before: 0 };
        Ok(Self { pipeline: Pipeline::new(work, plans, threads, queue, allowed)? })
    }

    /// The unreadable samples met so far, by index.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.pipeline.skipped().cloned().collect()
    }
}

impl Iterator for Evaluation {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pipeline.next_batch()
    }
}

struct Plans {
    order: Arc<[usize]>,
    batch_size: usize,
    batch: u64,
}

impl Iterator for Plans {
    type Item = BatchPlan;

    fn next(&mut self) -> Option<BatchPlan> {
        let start =
            usize::try_from(self.batch).expect("batches fit in memory").checked_mul(self.batch_size)?;
        let end = start.saturating_add(self.batch_size).min(self.order.len());
        if start >= end {
            return None;
        }
        let cursor = Cursor { epoch: 0, batch: self.batch };
        self.batch += 1;
        let is_last = end == self.order.len();
        let cursor_after =
            if is_last { Cursor { epoch: 1, batch: 0 } } else { Cursor { epoch: 0, batch: self.batch } };
        let (order, positions) = (Arc::clone(&self.order), start..end);
        Some(BatchPlan { cursor, cursor_after, order, positions, longest: None })
    }
}

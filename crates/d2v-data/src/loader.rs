//! The endless stream of shuffled batches that training reads, from any position.

use crate::batch::{Batch, Cursor, Skipped};
use crate::dataset::Dataset;
use crate::error::Error;
use crate::order::order;
use crate::pipeline::{BatchPlan, Pipeline, Unreadable, Work};
use crate::transform::Transform;
use std::sync::Arc;

/// How batches are made.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// Samples per batch, at least 1. Default 64.
    pub batch_size: usize,
    /// Worker threads, 1 to 1,024; batches do not depend on it. Default 2.
    pub threads: usize,
    /// The seed of order and augmentation. Default 0.
    pub seed: u64,
    /// How many batches may be under way or waiting, 1 to 4,096: the bound on memory. Default 4.
    pub queue: usize,
    /// Whether an epoch ends with the last whole batch; otherwise with a smaller one. Default true, as published.
    pub drop_last: bool,
    /// What is done to each sample.
    pub transform: Transform,
    /// How many different samples may be unreadable before it is an error. Default 100.
    pub unreadable_limit: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 64,
            threads: 2,
            seed: 0,
            queue: 4,
            drop_last: true,
            transform: Transform::default(),
            unreadable_limit: 100,
        }
    }
}

/// An endless iterator over shuffled batches, made ahead on worker threads.
///
/// The batches from a [`Cursor`] on are a pure function of data, seed and settings: the same bits for any number of
/// threads, and the same whether the loader started there or came by. Starting anywhere is a seek.
///
/// An unreadable sample is replaced by another, drawn from `(seed, epoch, position, try)`; which ones were met is told
/// by [`skipped`](Self::skipped). After an error the iterator has ended. Dropping it stops the threads within a sample.
pub struct Loader {
    pipeline: Pipeline<Plans>,
    batches_per_epoch: u64,
}

impl Loader {
    /// Starts the threads and the first batches.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::TooFewSamples`], [`Error::CursorBeyondEpoch`] or [`Error::Spawn`].
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig, start: Cursor) -> Result<Self, Error> {
        let LoaderConfig { batch_size, threads, seed, queue, drop_last, transform, unreadable_limit } =
            config;
        if batch_size == 0 {
            return Err(Error::Setting {
                setting: "batch_size",
                value: "0".into(),
                rule: "must be at least 1",
            });
        }
        let len = dataset.len();
        if len == 0 || (drop_last && len < batch_size) {
            return Err(Error::TooFewSamples { batch_size, samples: len });
        }
        let batches = if drop_last { len / batch_size } else { len.div_ceil(batch_size) } as u64;
        if start.batch >= batches {
            return Err(Error::CursorBeyondEpoch { epoch: start.epoch, batch: start.batch, batches });
        }
        let plans = Plans { seed, len, batch_size, batches, next: start, order: None };
        let work = Work { dataset, transform, seed, unreadable: Unreadable::Replace };
        let pipeline = Pipeline::new(work, plans, threads, queue, unreadable_limit)?;
        Ok(Self { pipeline, batches_per_epoch: batches })
    }

    /// The number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }

    /// The unreadable samples met in the batches delivered so far by this loader, each once, by index. A resumed run
    /// counts anew.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.pipeline.skipped().cloned().collect()
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pipeline.next_batch()
    }
}

/// Batch after batch, epoch after epoch.
struct Plans {
    seed: u64,
    len: usize,
    batch_size: usize,
    batches: u64,
    next: Cursor,
    /// The order of the epoch that `next` is in, once drawn.
    order: Option<Arc<[usize]>>,
}

impl Iterator for Plans {
    type Item = BatchPlan;

    fn next(&mut self) -> Option<BatchPlan> {
        let cursor = self.next;
        let order = self.order.get_or_insert_with(|| order(self.seed, cursor.epoch, self.len).into());
        let order = Arc::clone(order);
        let start = usize::try_from(cursor.batch).expect("below the number of batches") * self.batch_size;
        let positions = start..(start + self.batch_size).min(self.len);
        if cursor.batch + 1 < self.batches {
            self.next.batch += 1;
        } else {
            self.next = Cursor { epoch: cursor.epoch + 1, batch: 0 };
            self.order = None;
        }
        Some(BatchPlan { cursor, cursor_after: self.next, order, positions })
    }
}

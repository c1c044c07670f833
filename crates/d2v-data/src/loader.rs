//! The endless stream of shuffled batches that training reads, from any position.

use crate::batch::{Batch, Cursor, Skipped};
use crate::bucket::Buckets;
use crate::dataset::{Dataset, WhyIgnored};
use crate::error::Error;
use crate::order::order;
use crate::pipeline::{Allowed, BatchPlan, Pipeline, Unreadable, Work};
use crate::transform::Transform;
use std::ops::Range;
use std::sync::Arc;

/// How much a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// So many samples, at least 1, in random order.
    Samples(usize),
    /// As many samples of neighbouring lengths as fit: samples x longest is at most this, in the unit of
    /// [`Dataset::length`]. Batches are made anew and shuffled every epoch; none is dropped.
    TotalLength(usize),
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// What a batch holds. Default 64 samples.
    pub batch: BatchSize,
    /// Worker threads, 1 to 1,024; batches do not depend on it. Default 2.
    pub threads: usize,
    /// The seed of order and augmentation. Default 0.
    pub seed: u64,
    /// How many batches may be under way or waiting, 1 to 4,096: the bound on memory. Default 4.
    pub queue: usize,
    /// Whether an epoch ends with the last whole batch of so many samples; otherwise with a smaller one. Default true,
    /// as published.
    pub drop_last: bool,
    /// What is done to each sample.
    pub transform: Transform,
    /// How many different samples may be unreadable before it is an error; files that could not be read when the data
    /// was opened count ([`crate::WhyIgnored::Unreadable`]). Default 100.
    pub unreadable_limit: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch: BatchSize::Samples(64),
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
/// An unreadable sample is replaced by another, drawn from `(seed, epoch, id, try)`; which ones were met is told by
/// [`skipped`](Self::skipped). In batches of a total length the other is one of like length that the batch has room
/// for. After an error the iterator has ended. Dropping it stops the threads within a sample.
pub struct Loader {
    pipeline: Pipeline<Plans>,
    batches_per_epoch: u64,
}

impl Loader {
    /// Starts the threads and the first batches.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::TooFewSamples`], [`Error::CursorBeyondEpoch`], [`Error::TooManyUnreadable`] or
    /// [`Error::Spawn`].
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig, start: Cursor) -> Result<Self, Error> {
        let LoaderConfig { batch, threads, seed, queue, drop_last, transform, unreadable_limit } = config;
        let size = batch;
        let batches = batches_per_epoch(&*dataset, size, drop_last)?;
        if start.batch >= batches {
            return Err(Error::CursorBeyondEpoch { epoch: start.epoch, batch: start.batch, batches });
        }
        let allowed =
            Allowed { limit: unreadable_limit, before: unreadable_files(&*dataset, unreadable_limit)? };
        let lengths = match size {
            BatchSize::Samples(_) => Vec::new(),
            BatchSize::TotalLength(_) => (0..dataset.len()).map(|index| dataset.length(index)).collect(),
        };
        let plans = Plans { seed, len: dataset.len(), size, lengths, batches, next: start, epoch: None };
        let work = Work { dataset, transform, seed, unreadable: Unreadable::Replace };
        let pipeline = Pipeline::new(work, plans, threads, queue, allowed)?;
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

/// How many files could not be read when the data set was opened; beyond the limit an error.
fn unreadable_files(dataset: &dyn Dataset, limit: usize) -> Result<usize, Error> {
    let ignored = dataset.ignored();
    let count = usize::try_from(ignored.count(WhyIgnored::Unreadable)).unwrap_or(usize::MAX);
    match ignored.listed_for(WhyIgnored::Unreadable).last() {
        Some(Skipped { name, reason }) if count > limit => {
            Err(Error::TooManyUnreadable { count, limit, name: name.clone(), reason: reason.clone() })
        }
        _ => Ok(count),
    }
}

/// The number of batches that [`Loader`] makes of a data set in an epoch; the same for every epoch.
///
/// # Errors
/// [`Error::Setting`], [`Error::TooFewSamples`] or [`Error::LongerThanBatch`].
pub fn batches_per_epoch(dataset: &dyn Dataset, size: BatchSize, drop_last: bool) -> Result<u64, Error> {
    let samples = dataset.len();
    let zero = |setting| Error::Setting { setting, value: "0".into(), rule: "must be at least 1" };
    match size {
        BatchSize::Samples(0) => Err(zero("batch_size")),
        BatchSize::TotalLength(0) => Err(zero("batch_length")),
        BatchSize::Samples(batch_size) if samples == 0 || (drop_last && samples < batch_size) => {
            Err(Error::TooFewSamples { batch_size, samples })
        }
        BatchSize::Samples(size) if drop_last => Ok((samples / size) as u64),
        BatchSize::Samples(size) => Ok(samples.div_ceil(size) as u64),
        BatchSize::TotalLength(_) if samples == 0 => Err(Error::TooFewSamples { batch_size: 1, samples }),
        BatchSize::TotalLength(limit) => {
            let lengths: Vec<usize> = (0..samples).map(|index| dataset.length(index)).collect();
            if let Some(index) = lengths.iter().position(|&length| length > limit) {
                return Err(Error::LongerThanBatch {
                    name: dataset.name(index),
                    length: lengths[index],
                    limit,
                });
            }
            Ok(Buckets::new(&lengths, limit, 0, 0).batches.len() as u64)
        }
    }
}

/// Batch after batch, epoch after epoch.
struct Plans {
    seed: u64,
    len: usize,
    size: BatchSize,
    /// Empty where batches count samples.
    lengths: Vec<usize>,
    batches: u64,
    next: Cursor,
    /// The epoch that `next` is in, once drawn.
    epoch: Option<Epoch>,
}

/// The order of an epoch; without buckets, batches are consecutive parts of equal size.
#[derive(Clone)]
struct Epoch {
    order: Arc<[usize]>,
    buckets: Option<Arc<[Range<usize>]>>,
}

impl Plans {
    fn draw(&self, epoch: u64) -> Epoch {
        match self.size {
            BatchSize::Samples(_) => Epoch { order: order(self.seed, epoch, self.len).into(), buckets: None },
            BatchSize::TotalLength(total) => {
                let Buckets { order, batches } = Buckets::new(&self.lengths, total, self.seed, epoch);
                Epoch { order, buckets: Some(batches) }
            }
        }
    }
}

impl Iterator for Plans {
    type Item = BatchPlan;

    fn next(&mut self) -> Option<BatchPlan> {
        let cursor = self.next;
        let epoch = self.epoch.take().unwrap_or_else(|| self.draw(cursor.epoch));
        let number = usize::try_from(cursor.batch).expect("below the number of batches");
        let positions = match (&epoch.buckets, self.size) {
            (Some(buckets), _) => buckets[number].clone(),
            (None, BatchSize::Samples(size) | BatchSize::TotalLength(size)) => {
                number * size..((number + 1) * size).min(self.len)
            }
        };
        let order = Arc::clone(&epoch.order);
        if cursor.batch + 1 < self.batches {
            self.next.batch += 1;
            self.epoch = Some(epoch);
        } else {
            self.next = Cursor { epoch: cursor.epoch + 1, batch: 0 };
        }
        let longest = match self.size {
            BatchSize::Samples(_) => None,
            BatchSize::TotalLength(total) => Some(total / positions.len()),
        };
        Some(BatchPlan { cursor, cursor_after: self.next, order, positions, longest })
    }
}

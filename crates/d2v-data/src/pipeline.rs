//! Worker threads between a data set and whole batches, delivered in order.
//!
//! A batch is cut into chunks of a few samples, so that many threads work on one batch and the first does not take as
//! long as a whole batch on one thread. The worker that finishes a batch's last chunk collates it. At most `queue`
//! batches are planned but not yet delivered: that bounds both channels and the memory. Nothing that a worker does
//! depends on which worker does it; unreadable samples are counted where batches are delivered, in order, so even the
//! error for too many of them comes at the same batch whatever the threads do.

use crate::batch::{Batch, Cursor, Skipped};
use crate::collate::collate;
use crate::dataset::{Dataset, Sample};
use crate::error::Error;
use crate::panic_message::panic_message;
use crate::random::{AugmentKey, Domain, keyed_rng};
use crate::transform::Transform;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rand::seq::index::sample as draw_distinct;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Samples per piece of work: large enough that hand-over costs nothing, small enough to share a batch among threads.
const CHUNK_SAMPLES: usize = 8;
/// How many other samples are tried for an unreadable one before the data is called damaged.
const REPLACEMENT_TRIES: usize = 16;
/// How far, in positions of an order by length, a sample may be from the one that it stands in for.
const NEIGHBOURS: usize = 16;

/// The most threads and queued batches accepted: beyond them lies a typing error.
const MAX_THREADS: usize = 1_024;
const MAX_QUEUE: usize = 4_096;

/// What workers need to know, the same for all batches.
pub(crate) struct Work {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) transform: Transform,
    pub(crate) seed: u64,
    pub(crate) unreadable: Unreadable,
}

/// What happens to a sample that cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Another takes its place: batches keep their size.
    Replace,
    /// The batch is smaller: no sample appears twice.
    LeaveOut,
}

/// How much may be unreadable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// So many in all.
    pub(crate) limit: usize,
    /// So many are known before the first sample is loaded.
    pub(crate) before: usize,
}

/// A batch before it is made: which samples, and what the batch will be called.
pub(crate) struct BatchPlan {
    pub(crate) cursor: Cursor,
    pub(crate) cursor_after: Cursor,
    /// The order of the epoch, shared by its batches.
    pub(crate) order: Arc<[usize]>,
    /// Which part of the order.
    pub(crate) positions: Range<usize>,
    /// Where the order is one by length: the longest that a sample of this batch may be.
    pub(crate) longest: Option<usize>,
}

/// Threads, their work, and what has been delivered.
pub(crate) struct Pipeline<P> {
    plans: P,
    queue: usize,
    planned: u64,
    delivered: u64,
    /// `None` once closed, which ends the workers.
    chunks: Option<Sender<Chunk>>,
    finished: Receiver<Finished>,
    early: BTreeMap<u64, Finished>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    skipped: BTreeMap<usize, Skipped>,
    allowed: Allowed,
}

struct Chunk {
    batch: Arc<Unfinished>,
    number: usize,
}

/// A batch whose chunks are being made.
struct Unfinished {
    number: u64,
    plan: BatchPlan,
    made: Mutex<Vec<Option<Made>>>,
}

/// What one chunk, or a whole batch, came to.
#[derive(Default)]
struct Made {
    samples: Vec<Sample>,
    skipped: Vec<(usize, Skipped)>,
    error: Option<Error>,
}

struct Finished {
    number: u64,
    /// `None` if no sample was left, or an error came first.
    batch: Option<Batch>,
    skipped: Vec<(usize, Skipped)>,
    error: Option<Error>,
}

impl<P: Iterator<Item = BatchPlan>> Pipeline<P> {
    pub(crate) fn new(
        work: Work,
        plans: P,
        threads: usize,
        queue: usize,
        allowed: Allowed,
    ) -> Result<Self, Error> {
        let setting =
            |setting, value: usize, rule| Error::Setting { setting, value: value.to_string(), rule };
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(setting("threads", threads, "must be 1 to 1024"));
        }
        if !(1..=MAX_QUEUE).contains(&queue) {
            return Err(setting("queue", queue, "must be 1 to 4096"));
        }
        work.transform.validate()?;
        let work = Arc::new(work);
        let stop = Arc::new(AtomicBool::new(false));
        let (chunks, waiting) = unbounded();
        let (done, finished) = unbounded();
        let mut pipeline = Self {
            plans,
            queue,
            planned: 0,
            delivered: 0,
            chunks: Some(chunks),
            finished,
            early: BTreeMap::new(),
            stop: Arc::clone(&stop),
            workers: Vec::new(),
            skipped: BTreeMap::new(),
            allowed,
        };
        for number in 0..threads {
            let worker = Worker {
                work: Arc::clone(&work),
                waiting: waiting.clone(),
                done: done.clone(),
                stop: Arc::clone(&stop),
            };
            let thread = std::thread::Builder::new()
                .name(format!("d2v-data-{number}"))
                .spawn(move || worker.run())
                .map_err(|source| Error::Spawn { source })?;
            pipeline.workers.push(thread);
        }
        pipeline.fill_queue();
        Ok(pipeline)
    }

    /// Unreadable samples met in the batches delivered so far, by index.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.skipped.values()
    }

    /// The next batch in order; `None` after the last, and after an error.
    pub(crate) fn next_batch(&mut self) -> Option<Result<Batch, Error>> {
        loop {
            self.fill_queue();
            if self.chunks.is_none() || self.delivered == self.planned {
                return None;
            }
            let outcome = self.receive().and_then(|finished| self.accept(finished));
            match outcome {
                Ok(Some(batch)) => return Some(Ok(batch)),
                // A batch of which nothing was readable.
                Ok(None) => {}
                Err(error) => {
                    self.close();
                    return Some(Err(error));
                }
            }
        }
    }

    /// Plans batches until `queue` of them are under way.
    fn fill_queue(&mut self) {
        let Some(chunks) = &self.chunks else { return };
        while self.planned - self.delivered < self.queue as u64 {
            let Some(plan) = self.plans.next() else { return };
            let count = plan.positions.len().div_ceil(CHUNK_SAMPLES);
            let made = Mutex::new((0..count).map(|_| None).collect());
            let batch = Arc::new(Unfinished { number: self.planned, plan, made });
            for number in 0..count {
                // Fails only if all workers are gone, which the next `receive` reports.
                let _ = chunks.send(Chunk { batch: Arc::clone(&batch), number });
            }
            self.planned += 1;
        }
    }

    /// Waits for the batch whose turn it is; others that are ready first are kept.
    fn receive(&mut self) -> Result<Finished, Error> {
        loop {
            if let Some(finished) = self.early.remove(&self.delivered) {
                self.delivered += 1;
                return Ok(finished);
            }
            let finished = self.finished.recv().map_err(|_| Error::WorkerPanicked {
                name: "(between samples)".into(),
                message: "all loader threads have ended".into(),
            })?;
            self.early.insert(finished.number, finished);
        }
    }

    fn accept(&mut self, finished: Finished) -> Result<Option<Batch>, Error> {
        for (index, skipped) in finished.skipped {
            let Skipped { name, reason } = self.skipped.entry(index).or_insert(skipped).clone();
            let Allowed { limit, before } = self.allowed;
            let count = before + self.skipped.len();
            if count > limit {
                return Err(Error::TooManyUnreadable { count, limit, name, reason });
            }
        }
        match finished.error {
            Some(error) => Err(error),
            None => Ok(finished.batch),
        }
    }
}

impl<P> Pipeline<P> {
    /// Ends the workers: each finishes the sample it is at.
    fn close(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.chunks = None;
        for worker in self.workers.drain(..) {
            // A panic outside a sample has been seen as a closed channel already.
            let _ = worker.join();
        }
    }
}

impl<P> Drop for Pipeline<P> {
    fn drop(&mut self) {
        self.close();
    }
}

struct Worker {
    work: Arc<Work>,
    waiting: Receiver<Chunk>,
    done: Sender<Finished>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) {
        for Chunk { batch, number } in &self.waiting {
            let Some(made) = self.make_chunk(&batch.plan, number) else { return };
            let all = {
                let mut slots = batch.made.lock().unwrap_or_else(PoisonError::into_inner);
                slots[number] = Some(made);
                if slots.iter().all(Option::is_some) { std::mem::take(&mut *slots) } else { continue }
            };
            if self.done.send(finish(&self.work, &batch, all)).is_err() {
                return;
            }
        }
    }

    /// `None` if the pipeline is being closed.
    fn make_chunk(&self, plan: &BatchPlan, number: usize) -> Option<Made> {
        let start = plan.positions.start + number * CHUNK_SAMPLES;
        let end = (start + CHUNK_SAMPLES).min(plan.positions.end);
        let mut made = Made::default();
        for position in start..end {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            match self.work.sample_at(plan, position, &mut made.skipped) {
                Ok(sample) => made.samples.extend(sample),
                Err(error) => {
                    made.error = Some(error);
                    break;
                }
            }
        }
        Some(made)
    }
}

/// Joins the chunks of a batch. Of several errors that of the first chunk counts, whichever came first in time.
fn finish(work: &Work, batch: &Unfinished, chunks: Vec<Option<Made>>) -> Finished {
    let mut all = Made::default();
    for chunk in chunks.into_iter().flatten() {
        all.samples.extend(chunk.samples);
        all.skipped.extend(chunk.skipped);
        all.error = all.error.or(chunk.error);
    }
    let Made { samples, skipped, mut error } = all;
    let BatchPlan { cursor, cursor_after, .. } = batch.plan;
    let mut whole = None;
    if error.is_none() && !samples.is_empty() {
        match collate(samples, &work.transform, (work.seed, cursor.epoch)) {
            Ok((samples, inputs)) => {
                let (epoch, batch_in_epoch) = (cursor.epoch, cursor.batch);
                whole = Some(Batch { epoch, batch_in_epoch, cursor_after, samples, inputs });
            }
            Err(refused) => error = Some(refused),
        }
    }
    Finished { number: batch.number, batch: whole, skipped, error }
}

impl Work {
    /// The sample at a position of an epoch's order, or what stands in for it.
    fn sample_at(
        &self,
        plan: &BatchPlan,
        position: usize,
        skipped: &mut Vec<(usize, Skipped)>,
    ) -> Result<Option<Sample>, Error> {
        let epoch = plan.cursor.epoch;
        let wanted = plan.order[position];
        if let Some(sample) = self.try_sample(wanted, epoch, skipped)? {
            return Ok(Some(sample));
        }
        if self.unreadable == Unreadable::LeaveOut {
            return Ok(None);
        }
        let others = self.others(plan, position);
        for &at in &others {
            if let Some(sample) = self.try_sample(plan.order[at], epoch, skipped)? {
                return Ok(Some(sample));
            }
        }
        Err(Error::NoReplacement { name: self.dataset.name(wanted), tries: others.len() as u64 })
    }

    /// The positions of an epoch's order that are tried in turn for an unreadable sample: a function of order, seed,
    /// epoch and the sample's id.
    ///
    /// Where batches hold samples of like length these are its neighbours in length that the batch has room for: a
    /// long one would break the batch's bound, and to a short one the whole batch would be cropped.
    fn others(&self, plan: &BatchPlan, position: usize) -> Vec<usize> {
        let window = match plan.longest {
            None => 0..plan.order.len(),
            Some(longest) => {
                let fitting = plan.order.partition_point(|&index| self.dataset.length(index) <= longest);
                position.saturating_sub(NEIGHBOURS)..fitting.min(position + 1 + NEIGHBOURS)
            }
        };
        let id = self.dataset.id(plan.order[position]);
        let mut rng = keyed_rng(Domain::Replace, self.seed, plan.cursor.epoch, id);
        // One more than is tried, as the unreadable sample may be among them.
        let drawn = draw_distinct(&mut rng, window.len(), window.len().min(REPLACEMENT_TRIES + 1));
        let others = drawn.into_iter().map(|at| window.start + at).filter(|&at| at != position);
        others.take(REPLACEMENT_TRIES).collect()
    }

    /// `None` if the sample cannot be loaded, which is noted. A panic in a decoder or data set becomes an error.
    fn try_sample(
        &self,
        index: usize,
        epoch: u64,
        skipped: &mut Vec<(usize, Skipped)>,
    ) -> Result<Option<Sample>, Error> {
        let attempt = catch_unwind(AssertUnwindSafe(|| match self.dataset.load(index) {
            Ok(raw) => {
                let id = self.dataset.id(index);
                let input =
                    self.transform.apply(raw, AugmentKey { seed: self.seed, epoch, sample_id: id })?;
                Ok(Ok(Sample { id, index, label: self.dataset.label(index), input }))
            }
            Err(error) => Ok(Err(Skipped { name: self.dataset.name(index), reason: error.to_string() })),
        }));
        match attempt {
            Ok(Ok(Ok(sample))) => Ok(Some(sample)),
            Ok(Ok(Err(reason))) => {
                skipped.push((index, reason));
                Ok(None)
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(Error::WorkerPanicked {
                name: self.dataset.name(index),
                message: panic_message(&*panic).into(),
            }),
        }
    }
}

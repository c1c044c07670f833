//! From the configuration to masked batches on the device.

use crate::Result;
use crate::config::{DataConfig, RunConfig};
use crate::step::MaskedBatch;
use d2v_data::{Batch, Cursor, Dataset, Inputs, Loader, LoaderConfig, Skipped, Split, SyntheticImages, open};
use d2v_masking::{Mask, MaskKey, MaskSampler, Positions};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::{Device, Tensor};

/// The data set of a configuration: its path, or the built-in one.
///
/// # Errors
/// If the path holds nothing that can be read.
pub fn dataset(config: &DataConfig, split: Split) -> Result<Arc<dyn Dataset>> {
    Ok(match &config.path {
        Some(path) => Arc::from(open(path, split, &config.open)?),
        None => Arc::new(SyntheticImages::new(config.synthetic, split)?),
    })
}

/// Draws masks as a function of (seed, epoch, sample id).
pub struct Masks {
    seed: u64,
    positions: Positions,
    sampler: Box<dyn MaskSampler>,
}

impl Masks {
    /// The sampler of a configuration.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(config: &RunConfig) -> Result<Masks> {
        Ok(Masks { seed: config.seed, positions: config.positions(), sampler: config.mask.build()? })
    }

    /// One row per sample.
    ///
    /// # Errors
    /// If the settings do not suit the positions.
    pub fn draw(&self, epoch: u64, ids: &[u64]) -> Result<Mask> {
        let key = |&sample_id: &u64| MaskKey { seed: self.seed, epoch, sample_id, clone: 0 };
        let keys: Vec<MaskKey> = ids.iter().map(key).collect();
        Ok(self.sampler.sample_batch(self.positions, None, &keys)?)
    }

    /// The layout of the positions.
    pub fn positions(&self) -> Positions {
        self.positions
    }
}

/// Samples of a batch with their masks, still on the host.
pub struct HostBatch {
    /// The samples.
    pub batch: Batch,
    /// One row per sample.
    pub mask: Mask,
}

impl HostBatch {
    /// Copies to the device.
    pub fn to_device(&self, device: Device) -> MaskedBatch {
        MaskedBatch::new(input_tensor(&self.batch.inputs).to_device(device), &self.mask, None)
    }
}

/// The inputs of a batch as a tensor on the host.
pub fn input_tensor(inputs: &Inputs) -> Tensor {
    match inputs {
        Inputs::Image(images) => {
            let shape: Vec<i64> = images.shape().iter().map(|&n| n as i64).collect();
            let pixels = images.as_slice().expect("the loader collates into contiguous arrays");
            Tensor::from_slice(pixels).view(&shape[..])
        }
        _ => unreachable!("the transform, which the configuration checks, makes pictures"),
    }
}

/// The endless stream of masked batches.
pub struct MaskedLoader {
    loader: Loader,
    masks: Masks,
    waited: Duration,
}

impl MaskedLoader {
    /// Starts at `start`; batches from there on are the same whether the stream came by or began there.
    ///
    /// # Errors
    /// If the data set is too small for a batch, or a setting is out of range.
    pub fn new(config: &RunConfig, dataset: Arc<dyn Dataset>, start: Cursor) -> Result<MaskedLoader> {
        let loader_config = LoaderConfig {
            batch_size: config.train.batch_size,
            threads: config.data.threads,
            seed: config.seed,
            queue: config.data.queue,
            drop_last: true,
            transform: config.data.transform.clone(),
            unreadable_limit: config.data.unreadable_limit,
        };
        let loader = Loader::new(dataset, loader_config, start)?;
        Ok(MaskedLoader { loader, masks: Masks::new(config)?, waited: Duration::ZERO })
    }

    /// The next batch.
    ///
    /// # Errors
    /// If more samples are unreadable than allowed.
    pub fn next_batch(&mut self) -> Result<HostBatch> {
        let started = Instant::now();
        let batch = self.loader.next().expect("a loader has no end")?;
        let mask = self.masks.draw(batch.epoch, &batch.ids())?;
        self.waited += started.elapsed();
        Ok(HostBatch { batch, mask })
    }

    /// Time spent in [`MaskedLoader::next_batch`] since the last call of this.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    /// What was left out so far, and why.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.loader.skipped()
    }
}

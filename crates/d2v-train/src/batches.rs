//! From the configuration to masked batches on the device.

use crate::config::{DataConfig, RunConfig};
use crate::sources::Source;
use crate::step::MaskedBatch;
use crate::{Result, machine};
use d2v_data::{Batch, Cursor, Inputs, Loader, LoaderConfig, Skipped, Tokenizer};
use d2v_encoders::EncoderConfig;
use d2v_masking::{Mask, MaskConfig, MaskKey, MaskSampler, PaddingMask, TokenCorruptor, Vocabulary};
use d2v_torch::upload::{Arrival, Uploader};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Tensor;

/// Draws masks as a function of (seed, epoch, sample id).
pub struct Masks {
    seed: u64,
    encoder: EncoderConfig,
    sampler: Box<dyn MaskSampler>,
    /// Where the student may see other words instead of hidden ones.
    corruptor: Option<TokenCorruptor>,
    predict: Predict,
    /// Tells where words begin, where whole words are hidden.
    words: Option<Arc<Tokenizer>>,
}

/// Which of the chosen positions are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predict {
    /// All, also those that show a random word or their own (the paper).
    #[default]
    Chosen,
    /// Those that show the mask token (the released code for text, spec 9, C11).
    MaskToken,
}

/// What was done to a batch.
#[derive(Debug, Clone)]
pub struct Hiding {
    /// The chosen positions, true = hidden from the student.
    pub mask: Mask,
    /// The predicted positions, where they are not all of the chosen.
    pub predicted: Option<Mask>,
    /// What the student sees, where it is not just hidden: token ids, row by row.
    pub student_ids: Option<Vec<u32>>,
    /// The real positions.
    pub padding: Option<PaddingMask>,
}

impl Masks {
    /// The sampler of a configuration.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(config: &RunConfig, tokenizer: Option<Arc<Tokenizer>>) -> Result<Masks> {
        let corruptor = match (&config.mask, &config.model.encoder) {
            (MaskConfig::Tokens(tokens), EncoderConfig::Text(text)) => {
                let ids = text.ids()?;
                let special: Vec<u32> = ids.special.iter().map(|&id| id as u32).collect();
                let vocabulary = Vocabulary::new(ids.vocabulary as u32, ids.mask as u32, &special)?;
                Some(TokenCorruptor::new(tokens.clone(), vocabulary)?)
            }
            _ => None,
        };
        let whole_words = matches!(&config.mask, MaskConfig::Tokens(tokens) if tokens.whole_words);
        Ok(Masks {
            seed: config.seed,
            encoder: config.model.encoder.clone(),
            sampler: config.mask.build()?,
            corruptor,
            predict: config.predict,
            words: tokenizer.filter(|_| whole_words),
        })
    }

    /// One row per sample, drawn on what is there after cropping; padding is never hidden.
    ///
    /// # Errors
    /// If the settings do not suit the positions.
    pub fn draw(&self, epoch: u64, ids: &[u64], inputs: &Inputs) -> Result<Hiding> {
        let keys = self.keys(epoch, ids);
        let positions = crate::config::positions(&self.encoder, inputs.row_length() as i64);
        let padding = padding_mask(&self.encoder, inputs)?;
        if let (Some(corruptor), Inputs::Text { tokens_bl, .. }) = (&self.corruptor, inputs) {
            let tokens = tokens_bl.as_slice().expect("the loader collates into contiguous arrays");
            let starts = self.words.as_ref().map(|words| words.word_starts(tokens));
            let len = tokens_bl.ncols();
            let seen = corruptor.corrupt_batch(tokens, len, padding.as_ref(), starts.as_deref(), &keys)?;
            let predicted = (self.predict == Predict::MaskToken).then_some(seen.shows_mask);
            let student_ids = Some(seen.ids);
            return Ok(Hiding { mask: seen.chosen, predicted, student_ids, padding });
        }
        let mask = self.sampler.sample_batch(positions, padding.as_ref(), &keys)?;
        Ok(Hiding { mask, predicted: None, student_ids: None, padding })
    }

    /// One row per id on the positions of inputs of this length, all real; for a preview, without looking at inputs.
    ///
    /// # Errors
    /// If the settings do not suit the positions.
    pub fn preview(&self, epoch: u64, ids: &[u64], length: i64) -> Result<Mask> {
        let positions = crate::config::positions(&self.encoder, length);
        Ok(self.sampler.sample_batch(positions, None, &self.keys(epoch, ids))?)
    }

    fn keys(&self, epoch: u64, ids: &[u64]) -> Vec<MaskKey> {
        ids.iter().map(|&sample_id| MaskKey { seed: self.seed, epoch, sample_id, clone: 0 }).collect()
    }
}

/// Samples of a batch with what was hidden of them, still on the host.
pub struct HostBatch {
    /// The samples.
    pub batch: Batch,
    /// One row per sample.
    pub hiding: Hiding,
}

impl HostBatch {
    /// The batch as tensors of the host.
    pub fn tensors(&self) -> MaskedBatch {
        let Hiding { mask, predicted, student_ids, padding } = &self.hiding;
        let padding_bl = padding.as_ref().map(padding_tensor);
        let mut batch = MaskedBatch::new(input_tensor(&self.batch.inputs), mask, padding_bl);
        if let Some(predicted) = predicted {
            batch.hidden_m = Tensor::from_slice(&predicted.flat_hidden());
        }
        batch.student_input = student_ids.as_ref().map(|ids| id_tensor(ids, mask.len()));
        batch
    }
}

/// The micro-batches of an update, on their way to the device.
pub struct Upcoming {
    /// As they were loaded.
    pub host: Vec<HostBatch>,
    batches: Vec<MaskedBatch>,
    arrival: Arrival,
}

impl Upcoming {
    /// Takes `count` batches from the loader and begins to copy them, beside what the device is at.
    ///
    /// # Errors
    /// If a batch cannot be loaded, or the device's memory is exhausted.
    pub fn load(loader: &mut MaskedLoader, count: usize, uploader: &Uploader) -> Result<Upcoming> {
        let host: Vec<HostBatch> = (0..count).map(|_| loader.next_batch()).collect::<Result<_>>()?;
        let sent = |one: &HostBatch| one.tensors().try_map(|tensor| uploader.send(tensor));
        let batches = host.iter().map(sent).collect::<Result<_>>()?;
        Ok(Upcoming { host, batches, arrival: uploader.arrival()? })
    }

    /// The batches as loaded, and on the device, to be read behind their copies.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn arrive(self) -> Result<(Vec<HostBatch>, Vec<MaskedBatch>)> {
        self.arrival.wait()?;
        Ok((self.host, self.batches))
    }
}

/// The inputs of a batch as a tensor on the host: pictures `[B, C, H, W]`, sound `[B, C, T]`, token ids int64 `[B, L]`.
pub fn input_tensor(inputs: &Inputs) -> Tensor {
    let contiguous = "the loader collates into contiguous arrays";
    let shaped = |values: &[f32], shape: &[usize]| {
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        Tensor::from_slice(values).view(&shape[..])
    };
    match inputs {
        Inputs::Image(images) => shaped(images.as_slice().expect(contiguous), images.shape()),
        Inputs::Audio { samples_bct, .. } => {
            shaped(samples_bct.as_slice().expect(contiguous), samples_bct.shape())
        }
        Inputs::Text { tokens_bl, .. } => {
            id_tensor(tokens_bl.as_slice().expect(contiguous), tokens_bl.ncols())
        }
    }
}

fn id_tensor(ids: &[u32], columns: usize) -> Tensor {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    Tensor::from_slice(&ids).view([-1, columns as i64])
}

/// Bool `[B, L]`, true = not real.
fn padding_tensor(padding: &PaddingMask) -> Tensor {
    Tensor::from_slice(&padding.to_vec()).view([padding.rows() as i64, padding.len() as i64])
}

/// Which positions of a batch are real; absent where all rows are equally long.
fn padding_mask(encoder: &EncoderConfig, inputs: &Inputs) -> Result<Option<PaddingMask>> {
    let longest = inputs.row_length();
    let Some(lengths) = inputs.lengths().filter(|lengths| lengths.iter().any(|&own| own < longest)) else {
        return Ok(None);
    };
    let positions = |length: usize| encoder.positions(length as i64) as usize;
    let real: Vec<usize> = lengths.iter().map(|&length| positions(length)).collect();
    Ok(Some(PaddingMask::from_lengths(&real, positions(longest))?))
}

/// The padding of a batch, bool `[B, L]`, true = not real, for a front end; absent: all is real.
///
/// # Errors
/// If the lengths do not fit the positions.
pub fn padding_of(encoder: &EncoderConfig, inputs: &Inputs) -> Result<Option<Tensor>> {
    Ok(padding_mask(encoder, inputs)?.filter(PaddingMask::any).as_ref().map(padding_tensor))
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
    pub fn new(config: &RunConfig, source: &Source, start: Cursor) -> Result<MaskedLoader> {
        let DataConfig { threads, queue, transform, unreadable_limit, .. } = &config.data;
        let threads = match *threads {
            0 => machine::loader_threads(config.device != "cpu"),
            chosen => chosen,
        };
        let loader_config = LoaderConfig {
            batch: config.micro_batch()?,
            threads,
            seed: config.seed,
            queue: *queue,
            drop_last: true,
            transform: transform.clone(),
            unreadable_limit: *unreadable_limit,
        };
        let loader = Loader::new(Arc::clone(&source.dataset), loader_config, start)?;
        Ok(MaskedLoader {
            loader,
            masks: Masks::new(config, source.tokenizer.clone())?,
            waited: Duration::ZERO,
        })
    }

    /// The next batch.
    ///
    /// # Errors
    /// If more samples are unreadable than allowed.
    pub fn next_batch(&mut self) -> Result<HostBatch> {
        let started = Instant::now();
        let batch = self.loader.next().expect("a loader has no end")?;
        let hiding = self.masks.draw(batch.epoch, &batch.ids(), &batch.inputs)?;
        self.waited += started.elapsed();
        Ok(HostBatch { batch, hiding })
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

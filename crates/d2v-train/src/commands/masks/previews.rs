//! Samples of the data, each with what is hidden of it.

use crate::batches::Masks;
use crate::config::{RunConfig, positions};
use crate::masked_words::MaskedWords;
use crate::picture::MaskedPicture;
use crate::sources::{open_source, resolve};
use crate::waveform_picture::MaskedSound;
use d2v_data::{Dataset, Inputs, RawSample, Split, Tokenizer, Waveform};
use d2v_encoders::EncoderConfig;
use d2v_masking::{Mask, Positions};
use image::RgbImage;
use ndarray::Array2;
use std::sync::Arc;

/// Masks to be shown, and what they lie over.
#[derive(Debug)]
pub(super) struct Previews {
    /// The samples.
    pub ids: Vec<u64>,
    /// What the data calls each; empty where none is read.
    pub names: Vec<String>,
    /// A mask of one row for each.
    pub masks: Vec<Mask>,
    /// What is below the masks, in the same order.
    pub samples: Samples,
}

/// What masks lie over.
#[derive(Debug)]
pub(super) enum Samples {
    /// Nothing: masks alone, of a grid of this width where they are of one.
    None { grid_width: Option<usize> },
    /// Pictures, cut into a grid of this width.
    Pictures { pictures: Vec<MaskedPicture>, grid_width: usize },
    /// Sounds.
    Sounds(Vec<MaskedSound>),
    /// Text.
    Words(Vec<MaskedWords>),
}

impl Previews {
    /// The share of positions that is hidden, over all samples.
    pub(super) fn hidden_fraction(&self) -> f64 {
        let hidden: usize = self.masks.iter().map(Mask::total_hidden).sum();
        hidden as f64 / self.masks.iter().map(Mask::len).sum::<usize>().max(1) as f64
    }
}

/// The first `count` sounds of the data, whole, with masks on all their frames.
///
/// # Errors
/// If the data cannot be read, or the settings do not suit its lengths.
pub(super) fn sounds(config: &RunConfig, epoch: u64, count: usize) -> anyhow::Result<Previews> {
    let data = open_source(&config.data, Split::Train, None)?.dataset;
    let samples = first_readable(data.as_ref(), count, |sample| match sample {
        RawSample::Audio(sound) => Some(sound),
        RawSample::Image(_) | RawSample::Text(_) => None,
    });
    let EncoderConfig::Audio(encoder) = &config.model.encoder else {
        anyhow::bail!("no front end for sound")
    };
    let masks = Masks::new(config, None)?;
    let (mut drawn, mut sounds) = (Vec::new(), Vec::new());
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    for (index, sound) in samples {
        let id = data.id(index);
        let mask = masks.preview(epoch, &[id], Waveform::len(&sound) as i64)?;
        sounds.push(MaskedSound::new(sound, encoder, mask.row(0).to_vec())?);
        ids.push(id);
        names.push(data.name(index));
        drawn.push(mask);
    }
    Ok(Previews { ids, names, masks: drawn, samples: Samples::Sounds(sounds) })
}

/// The first `count` blocks of text, with what training hides of them in this epoch.
///
/// # Errors
/// If the data cannot be read, its tokenizer does not suit the configuration, or a setting does not suit its lengths.
pub(super) fn words(
    config: &RunConfig,
    tokenizer: Option<Arc<Tokenizer>>,
    epoch: u64,
    count: usize,
) -> anyhow::Result<Previews> {
    let source = open_source(&config.data, Split::Train, tokenizer)?;
    let Some(tokenizer) = source.tokenizer else { anyhow::bail!("the data is not text") };
    let samples = first_readable(source.dataset.as_ref(), count, |sample| match sample {
        RawSample::Text(tokens) => Some(tokens),
        RawSample::Image(_) | RawSample::Audio(_) => None,
    });
    let masks = Masks::new(&resolve(config, Some(&tokenizer))?, Some(Arc::clone(&tokenizer)))?;
    let (mut drawn, mut words) = (Vec::new(), Vec::new());
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    for (index, tokens) in samples {
        let id = source.dataset.id(index);
        let length = tokens.len();
        let tokens_bl = Array2::from_shape_vec((1, length), tokens.clone())?;
        let hiding = masks.draw(epoch, &[id], &Inputs::Text { tokens_bl, lengths: vec![length] })?;
        let hidden = hiding.mask.row(0);
        // Without a word in its place, what is hidden shows the mask token.
        let student = hiding.student_ids.unwrap_or_else(|| {
            let mask = tokenizer.specials().mask;
            tokens.iter().zip(hidden).map(|(&id, &hidden)| if hidden { mask } else { id }).collect()
        });
        words.push(MaskedWords::new(&tokenizer, &tokens, &student, hidden)?);
        ids.push(id);
        names.push(source.dataset.name(index));
        drawn.push(hiding.mask);
    }
    Ok(Previews { ids, names, masks: drawn, samples: Samples::Words(words) })
}

/// The first `count` pictures of the data, with the masks of their patches.
///
/// # Errors
/// If the data cannot be read, or the settings do not suit the grid.
pub(super) fn pictures(config: &RunConfig, epoch: u64, count: usize) -> anyhow::Result<Previews> {
    let (ids, pictures) = first_pictures(config, count)?;
    let masks = Masks::new(config, None)?;
    let length = config.longest_input();
    let draw = |id: &u64| masks.preview(epoch, &[*id], length);
    let masks: Vec<Mask> = ids.iter().map(draw).collect::<Result<_, _>>()?;
    lay(ids, pictures, masks, positions(&config.model.encoder, length))
}

/// The first `count` pictures of the data that can be read, with their ids.
///
/// # Errors
/// If the data cannot be opened.
pub(super) fn first_pictures(config: &RunConfig, count: usize) -> anyhow::Result<(Vec<u64>, Vec<RgbImage>)> {
    let data = open_source(&config.data, Split::Train, None)?.dataset;
    let read = |sample| match sample {
        RawSample::Image(picture) => {
            RgbImage::from_raw(picture.width(), picture.height(), picture.as_bytes().to_vec())
        }
        RawSample::Audio(_) | RawSample::Text(_) => None,
    };
    let readable = first_readable(data.as_ref(), count, read).into_iter();
    Ok(readable.map(|(index, picture)| (data.id(index), picture)).unzip())
}

/// Lays each mask over the picture in the same place.
///
/// # Errors
/// If the masks are not those of a grid, or it is finer than a picture's pixels.
pub(super) fn lay(
    ids: Vec<u64>,
    pictures: Vec<RgbImage>,
    masks: Vec<Mask>,
    positions: Positions,
) -> anyhow::Result<Previews> {
    let Positions::Grid { height, width } = positions else {
        anyhow::bail!("pictures need a grid of patches")
    };
    let pairs = pictures.into_iter().zip(&masks);
    let over = |(picture, mask): (_, &Mask)| MaskedPicture::new(picture, height, width, mask.row(0).to_vec());
    let pictures = pairs.map(over).collect::<Result<_, _>>()?;
    Ok(Previews { ids, names: Vec::new(), masks, samples: Samples::Pictures { pictures, grid_width: width } })
}

/// The first samples that can be read, with their indices; those that cannot are named.
fn first_readable<T>(
    data: &dyn Dataset,
    count: usize,
    read: impl Fn(RawSample) -> Option<T>,
) -> Vec<(usize, T)> {
    let readable = (0..data.len()).filter_map(|index| match data.load(index) {
        Ok(sample) => Some((index, read(sample)?)),
        Err(error) => {
            tracing::warn!("{} is left out: {error}", data.name(index));
            None
        }
    });
    readable.take(count).collect()
}

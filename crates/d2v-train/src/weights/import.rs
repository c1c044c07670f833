//! Weights from elsewhere with a configuration that they fit: all that a starting point is made of.

use super::companions::{self, TOKENIZER};
use super::configure::{Beyond, configure};
use super::convert::parameters;
use super::{Error, Of, special_tokens};
use crate::Result;
use crate::config::RunConfig;
use crate::sources::resolve;
use d2v_data::{SpecialNames, TextUnit, Tokenizer};
use d2v_encoders::{EncoderConfig, TokenIds};
use d2v_masking::MaskConfig;
use d2v_torch::Parameters;
use d2v_weights::{Checkpoint, Description, HfModel, Network};
use std::path::Path;

/// Weights under our names, with a configuration.
#[derive(Debug)]
pub struct Import {
    /// The recipe with the network of the weights.
    pub config: RunConfig,
    /// The student's weights, with its head where there is one.
    pub student: Parameters,
    /// The teacher's, where the source has its own.
    pub teacher: Option<Parameters>,
    /// What makes tokens, of text.
    pub tokenizer: Option<Tokenizer>,
    /// What is not there and what was passed over, in sentences.
    pub notes: Vec<String>,
}

/// The modality of a folder of transformers, by its configuration, as [`EncoderConfig::modality`] names it.
pub(crate) fn modality(description: &Description) -> &'static str {
    match description {
        Description::Vision(_) => "image",
        Description::Audio(_) => "audio",
        Description::Text(_) => "text",
    }
}

/// A folder of transformers. Its `config.json` decides on the network; `recipe`, asked for by modality, on all else.
///
/// # Errors
/// If the folder is damaged, asks for what is not supported, or the recipe is for another modality.
pub fn hf(folder: &Path, recipe: impl FnOnce(&str) -> anyhow::Result<RunConfig>) -> anyhow::Result<Import> {
    let (model, notes) = HfModel::read(folder).map_err(|error| crate::Error::from(Error::from(error)))?;
    let recipe = recipe(modality(&model.description))?;
    Ok(with_recipe(folder, &model, notes, recipe)?)
}

fn with_recipe(
    folder: &Path,
    model: &HfModel,
    mut notes: Vec<String>,
    mut config: RunConfig,
) -> Result<Import> {
    let (theirs, ours) = (modality(&model.description), config.model.encoder.modality());
    if theirs != ours {
        return Err(Error::OtherModality { theirs, ours }.into());
    }
    let tokenizer = match &model.description {
        Description::Text(_) => Some(match model.companions.get(TOKENIZER) {
            Some(json) => {
                let own = match &config.data.text.unit {
                    TextUnit::File { specials, .. } => specials.clone(),
                    _ => SpecialNames::default(),
                };
                special_tokens::tokenizer(json, folder, &model.companions, &own)?
            }
            None => tokenizer_of(&config, folder)?,
        }),
        _ => None,
    };
    let ids = match (&model.description, &tokenizer) {
        (Description::Text(text), Some(tokenizer)) => Some(ids(tokenizer, text.vocabulary)),
        _ => None,
    };
    let sample_rate_hz = match &config.model.encoder {
        EncoderConfig::Audio(audio) => audio.sample_rate_hz,
        _ => 0,
    };
    let beyond = Beyond { head: config.model.head, init: config.model.transformer.init, sample_rate_hz, ids };
    let (network, more) = configure(&model.description, beyond)?;
    notes.extend(more);
    if let Some(note) = scale_mask(&mut config, &network.encoder) {
        notes.push(note);
    }
    config.model = network;
    config.targets.top_k = config.targets.top_k.min(config.model.transformer.depth);
    notes.extend(companions::read_into(&mut config, &model.companions)?);
    let config = resolve(&config, tokenizer.as_ref())?;
    Ok(Import { config, student: parameters(&model.tensors)?, teacher: None, tokenizer, notes })
}

/// Makes the recipe's blocks as large as before, relative to a grid of another size; says so.
fn scale_mask(config: &mut RunConfig, imported: &EncoderConfig) -> Option<String> {
    let (EncoderConfig::Image(recipe), EncoderConfig::Image(image), MaskConfig::Blocks(blocks)) =
        (&config.model.encoder, imported, &mut config.mask)
    else {
        return None;
    };
    let (before, now) = (recipe.side().pow(2) as usize, image.side().pow(2) as usize);
    if before == now {
        return None;
    }
    for count in [&mut blocks.target_count, &mut blocks.min_block, &mut blocks.max_block] {
        *count = (*count * now / before.max(1)).max(1);
    }
    let hidden = blocks.target_count;
    Some(format!("mask.target_count = {hidden} of {now} patches: the recipe's share of its {before}"))
}

/// A `.pt` file of fairseq or of the original image code, for the network of `config`. Asked for the student, the
/// teacher's own weights come along where the file has them; asked for the teacher, it takes the student's place.
///
/// # Errors
/// If the file cannot be read, has no teacher and one is asked for, or is of another modality.
pub fn fairseq(file: &Path, mut config: RunConfig, of: Of) -> Result<Import> {
    let network = match of {
        Of::Student => Network::Student,
        Of::Teacher => Network::Teacher,
    };
    let read = |network| Checkpoint::read(file, network).map_err(Error::from);
    let Checkpoint { tensors, mut notes, .. } = read(network)?;
    let rows = tensors.get("front_end.tokens.weight").and_then(|table| table.shape().first().copied());
    let tokenizer = match config.model.encoder {
        EncoderConfig::Text(_) => Some(tokenizer_of(&config, file)?),
        _ => None,
    };
    if let (EncoderConfig::Text(text), Some(tokenizer), Some(rows)) =
        (&mut config.model.encoder, &tokenizer, rows)
    {
        text.ids.get_or_insert_with(|| ids(tokenizer, rows));
    }
    let config = resolve(&config, tokenizer.as_ref())?;
    let teacher = match of {
        Of::Teacher => None,
        Of::Student => match read(Network::Teacher) {
            Ok(teacher) => {
                notes.extend(teacher.notes.into_iter().filter(|note| note.contains("teacher's")));
                Some(parameters(&teacher.tensors)?)
            }
            Err(Error::File(d2v_weights::Error::NoTeacher { .. })) => {
                notes.push("there is no teacher: it starts as the student".into());
                None
            }
            Err(error) => return Err(error.into()),
        },
    };
    Ok(Import { config, student: parameters(&tensors)?, teacher, tokenizer, notes })
}

/// The tokenizer that the recipe names.
fn tokenizer_of(config: &RunConfig, path: &Path) -> Result<Tokenizer> {
    match &config.data.text.unit {
        TextUnit::File { path, specials } => Ok(Tokenizer::read_with(path, specials)?),
        _ => Err(Error::NoTokenizer { path: path.to_owned() }.into()),
    }
}

/// The tokenizer's ids, in a table of so many rows: published tables have some that no token uses.
fn ids(tokenizer: &Tokenizer, rows: usize) -> TokenIds {
    let own = tokenizer.specials();
    TokenIds {
        vocabulary: rows as i64,
        pad: i64::from(own.pad),
        mask: i64::from(own.mask),
        special: [own.bos, own.pad, own.eos, own.unk].map(i64::from).to_vec(),
    }
}

//! A network of a run as a folder of transformers.

use super::convert::tensors;
use super::describe::{Described, describe};
use super::{Error, Of, companions};
use crate::Result;
use crate::evaluate::trained::{open_checkpoint, tokenizer_beside};
use crate::run_state::parameters;
use d2v_weights::HfModel;
use std::path::Path;

/// Writes a network of `run` (a run's folder, or one checkpoint's) to the new folder `out`; returns in sentences what
/// stays behind and what is filled up.
///
/// # Errors
/// If the run has no intact checkpoint, transformers' classes cannot express its network, or the folder is taken.
pub fn export_hf(run: &Path, of: Of, out: &Path) -> Result<Vec<String>> {
    let checkpoint = open_checkpoint(run)?;
    let config = &checkpoint.state.config;
    let Described { description, mut notes } = describe(&config.model)?;
    let tokenizer = tokenizer_beside(&checkpoint.folder)?;
    let (companions, more) = companions::write(config, tokenizer.as_deref(), run)?;
    notes.extend(more);
    let weights = match of {
        Of::Student => &checkpoint.tensors.student,
        Of::Teacher => &checkpoint.tensors.teacher,
    };
    let model = HfModel { description, tensors: tensors(&parameters(weights))?, companions };
    notes.extend(model.write(out).map_err(Error::from)?);
    Ok(notes)
}

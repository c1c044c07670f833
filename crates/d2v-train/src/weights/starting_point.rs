//! A run folder of imported weights: a checkpoint at step 0, which every command that reads runs can read.

use super::adopt::adopt;
use super::{Error, Import, Of};
use crate::atomic_file::write_atomically;
use crate::checkpoint::{CheckpointStore, Retention, Versions};
use crate::network::HEAD;
use crate::report::CONFIG_FILE;
use crate::run_state::{RunState, checkpoint_tensors};
use crate::sources::{TOKENIZER_FILE, save_tokenizer};
use crate::step::Learner;
use crate::{Result, machine, settings};
use d2v_data::TextUnit;
use d2v_torch::Parameters;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Name of the record of an import, in the folder that it made.
const RECORD_FILE: &str = "import.json";

/// Where the weights of a run folder came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The file or folder.
    pub source: PathBuf,
    /// Which network became the student.
    pub of: Of,
    /// Parameters that were not there and have their start values; a run that starts from here makes its own.
    pub fresh: Vec<String>,
    /// What else was not there or was passed over.
    pub notes: Vec<String>,
}

impl ImportRecord {
    /// The record in a run's folder; `None` where none of its weights was imported.
    ///
    /// # Errors
    /// If it is there but damaged.
    pub fn read(run: &Path) -> Result<Option<ImportRecord>> {
        let path = run.join(RECORD_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(crate::Error::Io { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => Err(Error::Record { path, problem: error.to_string() }.into()),
        }
    }
}

/// Writes the run folder `out`: configuration, tokenizer, record, and a checkpoint at step 0 of student, teacher and an
/// optimizer that has seen nothing.
///
/// # Errors
/// If the folder holds a run, the weights are not those of the configured network, or the disk refuses.
pub fn write_starting_point(import: Import, source: &Path, of: Of, out: &Path) -> Result<ImportRecord> {
    let Import { mut config, student, teacher, tokenizer, notes } = import;
    if let Some(tokenizer) = &tokenizer {
        let path = std::path::absolute(out.join(TOKENIZER_FILE));
        let path = path.map_err(|source| crate::Error::Io { path: out.to_owned(), source })?;
        config.data.text.unit = TextUnit::File { path, specials: tokenizer.special_names().clone() };
    }
    config.validate()?;
    let place = (Device::Cpu, Kind::Float, config.seed);
    let averaged = config.teacher.averaged;
    let learner =
        Learner::new(&config.model, averaged, &config.targets, config.loss, &config.optimizer, place)?;
    let origin = source.display().to_string();
    let fresh = adopt(&learner.student.network.parameters, &student, &origin)?;
    let of_teacher = teacher.as_ref().unwrap_or(&student);
    adopt(&learner.teacher.parameters, &without_head(of_teacher), &origin)?;

    let versions = machine::versions();
    let own = Versions { program: versions["d2v"].clone(), libtorch: versions["libtorch"].clone() };
    let retention =
        Retention { keep_last: config.checkpoint.keep_last, keep_every: config.checkpoint.keep_every };
    let store = CheckpointStore::open(out, retention, own)?;
    let latest = store.latest_intact::<RunState>()?;
    if latest.checkpoint.is_some() || out.join(CONFIG_FILE).exists() {
        return Err(Error::Occupied { folder: out.to_owned() }.into());
    }
    let path = std::path::absolute(source).unwrap_or_else(|_| source.to_owned());
    let record = ImportRecord { source: path, of, fresh, notes };
    if let Some(tokenizer) = &tokenizer {
        save_tokenizer(out, tokenizer)?;
    }
    write(&out.join(RECORD_FILE), &format!("{:#}\n", serde_json::json!(record)))?;
    write(&out.join(CONFIG_FILE), &settings::to_toml(&config)?)?;
    store.save(0, &checkpoint_tensors(&learner), &RunState::start(&config))?;
    Ok(record)
}

/// A teacher has no prediction head.
pub(super) fn without_head(parameters: &Parameters) -> Parameters {
    let backbone = parameters.iter().filter(|(name, _)| !name.starts_with(HEAD));
    backbone.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| crate::Error::Io { path: path.to_owned(), source })
}

//! The data set of a configuration: its path, or the built-in one of the modality.

use crate::atomic_file::write_atomically;
use crate::config::{DataConfig, RunConfig};
use crate::{Error, Result};
use d2v_data::{
    Dataset, LabelledTextOptions, Split, SyntheticImages, SyntheticSounds, SyntheticText, TextTransform,
    Tokenizer, Transform, open, open_audio, open_labelled_text, open_text_with,
};
use d2v_encoders::{EncoderConfig, TokenIds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the tokenizer in the folder of a run on text.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A data set, and for text what made tokens of it.
#[derive(Clone)]
pub struct Source {
    /// The samples.
    pub dataset: Arc<dyn Dataset>,
    /// Absent for pictures and sound.
    pub tokenizer: Option<Arc<Tokenizer>>,
}

/// Opens the data of a configuration; text with the unit of the configuration, or with `tokenizer` where a run has one.
///
/// # Errors
/// If the path holds nothing that can be read.
pub fn open_source(config: &DataConfig, split: Split, tokenizer: Option<Arc<Tokenizer>>) -> Result<Source> {
    let dataset: Arc<dyn Dataset> = match (&config.transform, &config.path) {
        (Transform::Image(_), Some(path)) => Arc::from(open(path, split, &config.open)?),
        (Transform::Image(_), None) => Arc::new(SyntheticImages::new(config.synthetic, split)?),
        (Transform::Audio(_), Some(path)) => Arc::from(open_audio(path, split, &config.audio)?),
        (Transform::Audio(_), None) => Arc::new(SyntheticSounds::new(config.synthetic_audio, split)?),
        (Transform::Text(_), Some(path)) => {
            let blocks = open_text_with(path, split, &config.text, tokenizer)?;
            let tokenizer = Some(Arc::clone(blocks.tokenizer()));
            return Ok(Source { dataset: Arc::new(blocks), tokenizer });
        }
        (Transform::Text(_), None) => {
            let tokenizer = match tokenizer {
                Some(tokenizer) => tokenizer,
                None => Arc::new(built_in_tokenizer(config)?),
            };
            let text = SyntheticText::new(config.synthetic_text, split, Arc::clone(&tokenizer))?;
            return Ok(Source { dataset: Arc::new(text), tokenizer: Some(tokenizer) });
        }
    };
    Ok(Source { dataset, tokenizer: None })
}

/// Opens samples with labels for a run of this configuration: text comes from tables, everything else as for training.
///
/// # Errors
/// As [`open_source`]; for text also if the run has no tokenizer.
pub fn open_labelled(
    config: &DataConfig,
    labels: &LabelledTextOptions,
    split: Split,
    tokenizer: Option<Arc<Tokenizer>>,
) -> Result<Arc<dyn Dataset>> {
    match (&config.transform, &config.path, tokenizer) {
        (Transform::Text(_), Some(path), Some(tokenizer)) => {
            Ok(Arc::new(open_labelled_text(path, split, labels, tokenizer)?))
        }
        (_, _, tokenizer) => Ok(open_source(config, split, tokenizer)?.dataset),
    }
}

fn built_in_tokenizer(config: &DataConfig) -> Result<Tokenizer> {
    Ok(match &config.text.unit {
        d2v_data::TextUnit::File { path } => Tokenizer::read(path)?,
        unit => SyntheticText::learn_tokenizer(config.synthetic_text, unit)?,
    })
}

/// The configuration with what only the data can tell: for text the ids of its tokenizer.
///
/// # Errors
/// [`Error::Config`] if the ids that the configuration gives are not the tokenizer's.
pub fn resolve(config: &RunConfig, tokenizer: Option<&Tokenizer>) -> Result<RunConfig> {
    let mut config = config.clone();
    let (EncoderConfig::Text(text), Some(tokenizer)) = (&mut config.model.encoder, tokenizer) else {
        return Ok(config);
    };
    let own = tokenizer.specials();
    let vocabulary = tokenizer.vocabulary_size() as i64;
    let ids = text.ids.get_or_insert_with(|| TokenIds {
        vocabulary,
        pad: i64::from(own.pad),
        mask: i64::from(own.mask),
        special: [own.bos, own.pad, own.eos, own.unk].map(i64::from).to_vec(),
    });
    let must = [
        ("pad", ids.pad, i64::from(own.pad), ids.pad == i64::from(own.pad)),
        ("mask", ids.mask, i64::from(own.mask), ids.mask == i64::from(own.mask)),
        ("vocabulary", ids.vocabulary, vocabulary, ids.vocabulary >= vocabulary),
    ];
    if let Some((key, value, wanted, _)) = must.into_iter().find(|(.., holds)| !holds) {
        return Err(Error::Config {
            key: format!("model.encoder.ids.{key}"),
            value: value.to_string(),
            rule: format!(
                "the tokenizer of the data has {wanted}; leave model.encoder.ids out to take the tokenizer's"
            ),
        });
    }
    config.data.transform = Transform::Text(TextTransform { pad_id: own.pad });
    Ok(config)
}

/// The tokenizer that a run keeps in its folder, if it is one on text that has begun.
///
/// # Errors
/// If the file is there but damaged.
pub fn saved_tokenizer(run: &Path) -> Result<Option<Arc<Tokenizer>>> {
    let path = run.join(TOKENIZER_FILE);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Tokenizer::read(&path)?)))
}

/// Keeps the tokenizer in the folder of a run.
///
/// # Errors
/// If it cannot be written.
pub fn save_tokenizer(run: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let path: PathBuf = run.join(TOKENIZER_FILE);
    let json = tokenizer.to_json()?;
    write_atomically(&path, |file| file.write_all(&json)).map_err(|source| Error::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;

    fn data(modality: &str) -> DataConfig {
        RecipeArgs::default().load_for(modality).unwrap().data
    }

    #[test]
    fn text_with_labels_comes_from_tables() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("reviews.tsv");
        std::fs::write(&table, "sentence\tlabel\ngood\tpos\nbad\tneg\nfine\tpos\n").unwrap();
        let config = DataConfig { path: Some(table), ..data("text") };
        let tokenizer = Arc::new(built_in_tokenizer(&config).unwrap());
        let options = LabelledTextOptions::default();
        let labelled = open_labelled(&config, &options, Split::Train, Some(tokenizer)).unwrap();
        assert_eq!((labelled.len(), labelled.classes()), (3, &["neg".to_owned(), "pos".to_owned()][..]));
        let labels: Vec<_> = (0..3).map(|index| labelled.label(index)).collect();
        assert_eq!(labels, [Some(1), Some(0), Some(1)]);
        // Without a tokenizer it is read as for training: running text, which has no labels.
        let running = open_labelled(&config, &options, Split::All, None).unwrap();
        assert!((0..running.len()).all(|index| running.label(index).is_none()));
    }

    #[test]
    fn the_built_in_data_of_every_modality_has_labels() {
        for modality in ["image", "audio", "text"] {
            let options = LabelledTextOptions::default();
            let test = open_labelled(&data(modality), &options, Split::Test, None).unwrap();
            assert!(test.classes().len() > 1 && test.label(0).is_some(), "{modality}");
        }
    }
}

//! The data set of a configuration: its path, or the built-in one of the modality.

use crate::atomic_file::write_atomically;
use crate::config::{DataConfig, RunConfig};
use crate::{Error, Result};
use d2v_data::{
    AudioTransform, Dataset, LabelledTextOptions, SpecialNames, Split, SyntheticImages, SyntheticSounds,
    SyntheticText, TextTransform, TextUnit, Tokenizer, Transform, open, open_audio, open_labelled_text,
    open_text_with,
};
use d2v_encoders::{AudioFeatures, EncoderConfig, TokenIds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the tokenizer in the folder of a run on text.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Name of the file beside it that says what the tokenizer calls its special tokens; absent where that is RoBERTa's way or
/// BERT's.
pub const SPECIALS_FILE: &str = "tokenizer-specials.json";

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
        TextUnit::File { path, specials } => Tokenizer::read_with(path, specials)?,
        unit => SyntheticText::learn_tokenizer(config.synthetic_text, unit)?,
    })
}

/// The configuration with what its parts tell each other: for text the ids of the data's tokenizer, for sound how much
/// silence a window of the front end can hold.
///
/// # Errors
/// [`Error::Config`] if the ids that the configuration gives are not the tokenizer's.
pub fn resolve(config: &RunConfig, tokenizer: Option<&Tokenizer>) -> Result<RunConfig> {
    let mut config = config.clone();
    if let (EncoderConfig::Audio(audio), Transform::Audio(transform)) =
        (&config.model.encoder, &mut config.data.transform)
    {
        transform.still_samples = transform.still_samples.or(still_samples(&audio.features));
    }
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

/// How many samples of silence fill the first window of a front end, where that is less than what is taken for silence
/// anyway.
fn still_samples(features: &AudioFeatures) -> Option<usize> {
    let window = match features {
        AudioFeatures::Waveform { layers, .. } => layers.first()?.kernel,
        AudioFeatures::LogMel { window, .. } => *window,
    };
    // One sample is no window: it has no variance whatever it is.
    usize::try_from(window)
        .ok()
        .filter(|&window| window < AudioTransform::STILL_SAMPLES)
        .map(|window| window.max(2))
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
    let specials = run.join(SPECIALS_FILE);
    let names = match std::fs::read(&specials) {
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|error| Error::Io { path: specials, source: error.into() })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => SpecialNames::default(),
        Err(source) => return Err(Error::Io { path: specials, source }),
    };
    Ok(Some(Arc::new(Tokenizer::read_with(&path, &names)?)))
}

/// Keeps the tokenizer in the folder of a run.
///
/// # Errors
/// If it cannot be written.
pub fn save_tokenizer(run: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let path: PathBuf = run.join(TOKENIZER_FILE);
    let json = tokenizer.to_json()?;
    let names = tokenizer.special_names();
    if !names.is_empty() {
        let path = run.join(SPECIALS_FILE);
        write_atomically(&path, |file| Ok(serde_json::to_writer_pretty(file, names)?))
            .map_err(|source| Error::Io { path, source })?;
    }
    write_atomically(&path, |file| file.write_all(&json)).map_err(|source| Error::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;
    use d2v_encoders::ConvLayer;

    /// A tokenizer as GPT-2's, which has one special token.
    #[test]
    fn a_saved_tokenizer_keeps_the_names_of_its_special_tokens() {
        let run = tempfile::tempdir().unwrap();
        let json = br#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":null,"post_processor":null,"decoder":null,
            "model":{"type":"WordLevel","vocab":{"<|end|>":0,"a":1},"unk_token":"<|end|>"}}"#;
        let text = "begin = '<|end|>'\nend = '<|end|>'\nunknown = '<|end|>'\npad = '<pad>'\nmask = '<mask>'";
        let names: SpecialNames = toml::from_str(text).unwrap();
        let tokenizer = Tokenizer::from_json_with(json, "t.json", &names).unwrap();
        assert!(saved_tokenizer(run.path()).unwrap().is_none());
        save_tokenizer(run.path(), &tokenizer).unwrap();
        let saved = saved_tokenizer(run.path()).unwrap().unwrap();
        assert_eq!((saved.specials(), saved.vocabulary_size()), (tokenizer.specials(), 4));
        std::fs::write(run.path().join(SPECIALS_FILE), "{").unwrap();
        let message = saved_tokenizer(run.path()).err().unwrap().to_string();
        assert!(message.contains(SPECIALS_FILE), "{message}");
    }

    #[test]
    fn silence_is_as_short_as_the_first_window() {
        let waveform = |kernel| AudioFeatures::Waveform {
            layers: vec![ConvLayer { width: 8, kernel, stride: 1 }],
            gradient_multiplier: 1.0,
        };
        let of = |kernel| still_samples(&waveform(kernel));
        assert_eq!((of(1), of(4), of(9)), (Some(2), Some(4), Some(9)));
        assert_eq!((of(10), of(32)), (None, None));
        let mel = AudioFeatures::LogMel { bands: 40, window: 256, hop: 80, stacked: 2 };
        assert_eq!(still_samples(&mel), None);
    }

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
        // Without a tokenizer it is read as for training, which tables are not for.
        let refused = open_labelled(&config, &options, Split::Train, None).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("reviews.tsv"), "{refused}");
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

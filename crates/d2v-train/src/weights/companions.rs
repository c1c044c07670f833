//! What goes beside the weights: how pictures, sound and text become inputs.

use super::Error;
use crate::Result;
use crate::config::RunConfig;
use d2v_data::{Geometry, Tokenizer, Transform};
use d2v_encoders::EncoderConfig;
use d2v_weights::{AudioProcessor, ImageProcessor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Pictures and sound.
pub(super) const PROCESSOR: &str = "preprocessor_config.json";
/// Text.
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Files by name.
pub(super) type Companions = BTreeMap<String, Vec<u8>>;

/// The files that go beside a run's weights, and in sentences what they cannot say.
///
/// # Errors
/// If the run on text has no tokenizer, or it cannot be written.
pub(super) fn write(
    config: &RunConfig,
    tokenizer: Option<&Tokenizer>,
    run: &Path,
) -> Result<(Companions, Vec<String>)> {
    let mut notes = Vec::new();
    let files = match (&config.data.transform, &config.model.encoder) {
        (Transform::Image(transform), _) => {
            if let Geometry::CentreCrop { .. } = transform.for_evaluation().geometry {
                notes.push(format!(
                    "{PROCESSOR} resizes whole pictures; evaluation here resizes the shorter side and takes the centre"
                ));
            }
            let floats = |values: [f32; 3]| values.iter().copied().map(short).collect();
            let processor = ImageProcessor {
                size: transform.size_px() as usize,
                mean: floats(transform.normalisation.mean),
                deviation: floats(transform.normalisation.std),
            };
            vec![(PROCESSOR, processor.to_json().into_bytes())]
        }
        (Transform::Audio(transform), EncoderConfig::Audio(audio)) => {
            let sampling_rate_hz = audio.sample_rate_hz as usize;
            let processor = AudioProcessor { sampling_rate_hz, normalise: transform.normalise };
            vec![(PROCESSOR, processor.to_json().into_bytes())]
        }
        (_, EncoderConfig::Text(text)) => {
            let tokenizer = tokenizer.ok_or_else(|| Error::NoTokenizer { path: run.to_owned() })?;
            let json = with_ends(&tokenizer.to_json()?, tokenizer)?;
            let longest = text.max_tokens;
            vec![(TOKENIZER, json), (TOKENIZER_CONFIG, tokenizer_config(tokenizer, longest).into_bytes())]
        }
        (Transform::Audio(_) | Transform::Text(_), _) => Vec::new(),
    };
    Ok((files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect(), notes))
}

/// The number that people wrote: 0.485, not 0.48500001430511475.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// The names of start, padding, end, unknown and mask, as transformers' settings call them.
fn special_names(tokenizer: &Tokenizer) -> [(&'static str, String, u32); 5] {
    let ids = tokenizer.specials();
    [
        ("bos_token", ids.bos),
        ("pad_token", ids.pad),
        ("eos_token", ids.eos),
        ("unk_token", ids.unk),
        ("mask_token", ids.mask),
    ]
    .map(|(key, id)| (key, tokenizer.token_text(id).unwrap_or_default(), id))
}

fn tokenizer_config(tokenizer: &Tokenizer, longest: i64) -> String {
    let mut fields = json!({ "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest });
    for (key, name, _) in special_names(tokenizer) {
        fields[key] = Value::from(name);
    }
    format!("{fields:#}\n")
}

/// Makes a tokenizer that says nothing of it put start and end around a text, as blocks have them here.
fn with_ends(json: &[u8], tokenizer: &Tokenizer) -> Result<Vec<u8>> {
    let damaged = |error: serde_json::Error| {
        let path = Path::new(TOKENIZER).to_owned();
        Error::Record { path, problem: error.to_string() }
    };
    let mut value: Value = serde_json::from_slice(json).map_err(damaged)?;
    if value["post_processor"].is_null() {
        let [(_, begin, begin_id), _, (_, end, end_id), ..] = special_names(tokenizer);
        let special = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        let entry = |name: &str, id: u32| json!({ "id": name, "ids": [id], "tokens": [name] });
        value["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [special(&begin), text("A"), special(&end)],
            "pair": [special(&begin), text("A"), special(&end), text("B"), special(&end)],
            "special_tokens": { &begin: entry(&begin, begin_id), &end: entry(&end, end_id) },
        });
    }
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(damaged)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Sets how inputs are made as the files beside published weights say; returns in sentences what they do not.
///
/// # Errors
/// If a file is damaged or asks for what is not supported.
pub(super) fn read_into(config: &mut RunConfig, companions: &Companions) -> Result<Vec<String>> {
    let path = Path::new(PROCESSOR);
    let file = companions.get(PROCESSOR);
    let mut notes = Vec::new();
    let missing = |taken: String| format!("{PROCESSOR} is not there: {taken}, as in the recipe");
    match (&mut config.data.transform, &mut config.model.encoder) {
        (Transform::Image(transform), EncoderConfig::Image(image)) => {
            resize(&mut transform.geometry, image.image_size as u32);
            config.data.synthetic.size_px = image.image_size as u32;
            let Some(file) = file else {
                notes.push(missing(format!("pictures are normalised by {:?}", transform.normalisation)));
                return Ok(notes);
            };
            let ImageProcessor { size, mean, deviation } =
                ImageProcessor::from_json(path, file).map_err(Error::from)?;
            if size as i64 != image.image_size {
                let rule = format!("preprocessor_config.json has size {size}; both must be equal");
                let value = image.image_size.to_string();
                return Err(Error::NotHere { field: "image_size", value, rule }.into());
            }
            let three = |values: &[f64], field| {
                <[f64; 3]>::try_from(values).map(|values| values.map(|value| value as f32)).map_err(|_| {
                    Error::NotHere { field, value: format!("{values:?}"), rule: "must have 3 numbers".into() }
                })
            };
            transform.normalisation.mean = three(&mean, "image_mean")?;
            transform.normalisation.std = three(&deviation, "image_std")?;
        }
        (Transform::Audio(transform), EncoderConfig::Audio(audio)) => {
            let Some(file) = file else {
                notes.push(missing(format!("sound is taken to have {} Hz", audio.sample_rate_hz)));
                return Ok(notes);
            };
            let AudioProcessor { sampling_rate_hz, normalise } =
                AudioProcessor::from_json(path, file).map_err(Error::from)?;
            transform.normalise = normalise;
            audio.sample_rate_hz = sampling_rate_hz as u32;
            config.data.audio.sample_rate_hz = audio.sample_rate_hz;
            config.data.synthetic_audio.sample_rate_hz = audio.sample_rate_hz;
        }
        (_, EncoderConfig::Text(text)) => {
            let longest = text.max_tokens as usize;
            config.data.text.max_tokens = config.data.text.max_tokens.min(longest);
            config.data.synthetic_text.max_tokens = config.data.synthetic_text.max_tokens.min(longest);
        }
        (Transform::Image(_) | Transform::Audio(_) | Transform::Text(_), _) => {}
    }
    Ok(notes)
}

/// The same geometry for pictures of another size.
fn resize(geometry: &mut Geometry, side: u32) {
    match geometry {
        Geometry::RandomResizedCrop { size_px, .. } | Geometry::Resize { size_px } => *size_px = side,
        Geometry::RandomShift { size_px, max_shift_px } => {
            (*size_px, *max_shift_px) = (side, (*max_shift_px).min(side.saturating_sub(1)));
        }
        Geometry::CentreCrop { size_px, shorter_side_px } => {
            (*size_px, *shorter_side_px) = (side, (*shorter_side_px).max(side));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tiny_run;

    #[test]
    fn the_processor_of_pictures_is_read_as_written() {
        let config = tiny_run::config(1, 0);
        let (files, notes) = write(&config, None, Path::new("run")).unwrap();
        assert_eq!(notes, [""; 0]);
        let mut other = config.clone();
        let Transform::Image(transform) = &mut other.data.transform else { panic!("no pictures") };
        transform.normalisation = Default::default();
        transform.geometry = Geometry::RandomShift { size_px: 8, max_shift_px: 1 };
        assert_eq!(read_into(&mut other, &files).unwrap(), [""; 0]);
        assert_eq!(other, config);
        let notes = read_into(&mut other, &Companions::new()).unwrap();
        assert!(notes[0].contains("is not there"), "{notes:?}");
    }

    #[test]
    fn a_processor_for_another_size_is_refused() {
        let config = tiny_run::config(1, 0);
        let processor = ImageProcessor { size: 8, mean: vec![0.5; 3], deviation: vec![0.5; 3] };
        let files = Companions::from([(PROCESSOR.to_owned(), processor.to_json().into_bytes())]);
        let error = read_into(&mut config.clone(), &files).unwrap_err().to_string();
        assert!(error.contains("`image_size` is 16") && error.contains("size 8"), "{error}");
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        assert_eq!(short(0.485), 0.485);
        assert_eq!(short(1.0 / 3.0) as f32, 1.0 / 3.0);
    }
}

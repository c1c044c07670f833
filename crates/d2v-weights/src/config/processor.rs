//! transformers' `preprocessor_config.json`: how pictures and waveforms become input.

use super::fields::{Fields, WIDTHS};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file's name.
pub(crate) const PROCESSOR_FILE: &str = "preprocessor_config.json";

/// How pictures become input: resized (bicubic), scaled to `[0, 1]`, then `(x - mean) / deviation` per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    /// Height and width, in pixels.
    pub size: usize,
    /// Mean per channel, on the scale of `[0, 1]`.
    pub mean: Vec<f64>,
    /// Deviation per channel, on the scale of `[0, 1]`.
    pub deviation: Vec<f64>,
}

/// How waveforms become input.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioProcessor {
    /// Samples per second.
    pub sampling_rate_hz: usize,
    /// Whether each utterance is brought to mean 0 and deviation 1 (eps 1e-7 there, 1e-5 in fairseq; spec 7.2).
    pub normalise: bool,
}

/// PIL's number for bicubic.
const BICUBIC: u8 = 3;

impl ImageProcessor {
    /// The text of the file.
    pub fn to_json(&self) -> String {
        let size = json!({ "height": self.size, "width": self.size });
        let fields = json!({
            "image_processor_type": "BeitImageProcessor",
            "do_resize": true,
            "size": size,
            "resample": BICUBIC,
            "do_center_crop": false,
            "crop_size": size,
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.mean,
            "image_std": self.deviation,
            "do_reduce_labels": false,
        });
        format!("{fields:#}\n")
    }

    /// Reads the text of the file, in today's form (`size` of height and width) or the older one (a number).
    ///
    /// # Errors
    /// When a field is missing or not supported.
    pub fn from_json(path: &Path, text: &[u8]) -> Result<ImageProcessor> {
        let map = object(path, text)?;
        let fields = Fields::of_processor("data2vec-vision processor", &map);
        let size = match map.get("size") {
            Some(Value::Object(size)) => {
                let size = Fields::of_processor("data2vec-vision processor", size);
                let (height, width) = (size.size("height", WIDTHS)?, size.size("width", WIDTHS)?);
                if height != width {
                    return fields.refuse("size", "equal height and width");
                }
                height
            }
            _ => fields.size("size", WIDTHS)?,
        };
        for flag in ["do_resize", "do_normalize"] {
            fields.only(flag, &Value::Bool(true))?;
        }
        fields.absent_or("do_rescale", &Value::Bool(true))?;
        fields.only("resample", &Value::from(BICUBIC))?;
        let numbers = |field: &str| match map.get(field).and_then(Value::as_array) {
            Some(list) if !list.is_empty() && list.len() <= *WIDTHS.end() => {
                match list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
                    Some(numbers) => Ok(numbers),
                    None => fields.refuse(field, "a list of numbers, one per channel"),
                }
            }
            _ => fields.refuse(field, "a list of numbers, one per channel"),
        };
        let (mean, deviation) = (numbers("image_mean")?, numbers("image_std")?);
        if mean.len() != deviation.len() || deviation.iter().any(|&deviation| deviation <= 0.0) {
            return fields.refuse("image_std", "numbers above 0, as many as image_mean has");
        }
        Ok(ImageProcessor { size, mean, deviation })
    }
}

impl AudioProcessor {
    /// The text of the file.
    pub fn to_json(&self) -> String {
        let fields = json!({
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "sampling_rate": self.sampling_rate_hz,
            "do_normalize": self.normalise,
            "return_attention_mask": true,
            "padding_side": "right",
            "padding_value": 0.0,
        });
        format!("{fields:#}\n")
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// When a field is missing or not supported.
    pub fn from_json(path: &Path, text: &[u8]) -> Result<AudioProcessor> {
        let map = object(path, text)?;
        let fields = Fields::of_processor("data2vec-audio processor", &map);
        fields.absent_or("feature_size", &Value::from(1))?;
        Ok(AudioProcessor {
            sampling_rate_hz: fields.size("sampling_rate", 1..=1_000_000)?,
            normalise: fields.flag("do_normalize")?,
        })
    }
}

fn object(path: &Path, text: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(text).map_err(|error| Error::malformed(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_as_written() {
        let image = ImageProcessor { size: 224, mean: vec![0.5; 3], deviation: vec![0.25, 0.5, 1.0] };
        assert_eq!(
            ImageProcessor::from_json(Path::new(PROCESSOR_FILE), image.to_json().as_bytes()).unwrap(),
            image
        );
        let audio = AudioProcessor { sampling_rate_hz: 16_000, normalise: true };
        assert_eq!(
            AudioProcessor::from_json(Path::new(PROCESSOR_FILE), audio.to_json().as_bytes()).unwrap(),
            audio
        );
    }

    #[test]
    fn older_files_give_the_size_as_a_number() {
        let text = br#"{"size": 224, "do_resize": true, "do_normalize": true, "resample": 3,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#;
        assert_eq!(ImageProcessor::from_json(Path::new(PROCESSOR_FILE), text).unwrap().size, 224);
    }

    #[test]
    fn another_resampling_is_refused_by_name() {
        let text = br#"{"size": 224, "do_resize": true, "do_normalize": true, "resample": 2}"#;
        let error = ImageProcessor::from_json(Path::new(PROCESSOR_FILE), text).unwrap_err().to_string();
        assert_eq!(error, "preprocessor_config.json: `resample` is 2; supported: 3");
    }
}

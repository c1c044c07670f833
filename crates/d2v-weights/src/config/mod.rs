//! transformers' `config.json`: every field that changes a result is read, none is guessed.
//!
//! The classes' own defaults are never used: they differ from the published networks (spec 7.1, 7.3). Fields that change
//! nothing here (heads of classifiers, start values, what fine-tuning masks) are neither read nor written.

mod audio;
mod fields;
mod processor;
mod text;
mod vision;

pub(crate) use processor::PROCESSOR_FILE;
pub use processor::{AudioProcessor, ImageProcessor};

use crate::description::Description;
use crate::{Error, Result};
use fields::Fields;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The transformers release whose form of `config.json` is written.
const WRITTEN_FOR: &str = "4.57.1";

impl Description {
    /// Reads the text of a `config.json`.
    ///
    /// Whether a mask token is there is not always said; `mask_token` is corrected by the tensors on import.
    ///
    /// # Errors
    /// [`Error::FieldMissing`] and [`Error::FieldValue`] name the field; `path` names the file when it is no JSON object.
    pub fn from_config_json(path: &Path, text: &[u8]) -> Result<Description> {
        let fields: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| Error::malformed(path, error))?;
        match fields.get("model_type").and_then(Value::as_str) {
            Some(vision::MODEL_TYPE) => {
                vision::read(&Fields::new(vision::MODEL_TYPE, &fields)).map(Description::Vision)
            }
            Some(audio::MODEL_TYPE) => {
                audio::read(&Fields::new(audio::MODEL_TYPE, &fields)).map(Description::Audio)
            }
            Some(text::MODEL_TYPE) => {
                text::read(&Fields::new(text::MODEL_TYPE, &fields)).map(Description::Text)
            }
            _ => Err(Error::FieldValue {
                file: "config.json",
                field: "model_type".into(),
                value: fields.get("model_type").map_or("absent".into(), Value::to_string),
                supported: [vision::MODEL_TYPE, audio::MODEL_TYPE, text::MODEL_TYPE].join(", "),
            }),
        }
    }

    /// The text of a `config.json` that transformers 4.57 and 5 read as this network.
    pub fn to_config_json(&self) -> String {
        let (class, model_type, mut fields) = match self {
            Description::Vision(vision) => ("Data2VecVisionModel", vision::MODEL_TYPE, vision::write(vision)),
            Description::Audio(audio) => ("Data2VecAudioModel", audio::MODEL_TYPE, audio::write(audio)),
            Description::Text(text) => ("Data2VecTextModel", text::MODEL_TYPE, text::write(text)),
        };
        let transformer = self.transformer();
        let common = json!({
            "architectures": [class],
            "model_type": model_type,
            // The name before 4.56; later releases accept it.
            "torch_dtype": "float32",
            "transformers_version": WRITTEN_FOR,
            "hidden_size": transformer.width,
            "num_hidden_layers": transformer.depth,
            "num_attention_heads": transformer.heads,
            "intermediate_size": transformer.feed_forward,
            "layer_norm_eps": transformer.norm_eps,
            "hidden_act": "gelu",
        });
        if let Value::Object(common) = common {
            fields.extend(common);
        }
        format!("{:#}\n", Value::Object(fields))
    }
}

//! Everything that can go wrong, with the value, the rule and the way out.

use crate::DType;
use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file is not what its name or place says.
    #[error("{path} cannot be read: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },

    /// A checkpoint holds a student alone.
    #[error("{path} holds no teacher (`_ema` or `model_ema`), only a student; ask for that", path = path.display())]
    NoTeacher {
        /// The file.
        path: PathBuf,
    },

    /// A file written by `torch.save` before PyTorch 1.6.
    #[error(
        "{path} is a torch file of the kind used before PyTorch 1.6, not a zip archive; convert it once with \
         python -c 'import torch; torch.save(torch.load(\"OLD.pt\", map_location=\"cpu\", weights_only=False), \
         \"NEW.pt\")', which runs code in the file, so only do this with a file you trust",
        path = path.display()
    )]
    OldTorchFile {
        /// The file.
        path: PathBuf,
    },

    /// Something exceeds what this crate is willing to read.
    #[error(
        "{what} is {found}, the limit is {limit}; if the file is genuine, convert it to safetensors first"
    )]
    Limit {
        /// What was counted or measured.
        what: String,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },

    /// Bytes do not fill a tensor's shape.
    #[error("a tensor of {dtype:?} and shape {shape:?} cannot have {bytes} bytes")]
    TensorSize {
        /// Number type.
        dtype: DType,
        /// Shape.
        shape: Vec<usize>,
        /// Bytes given.
        bytes: usize,
    },

    /// A tensor cannot become f32.
    #[error("tensor {name:?} holds {dtype:?}; weights must be floating-point numbers")]
    NotFloat {
        /// The tensor.
        name: String,
        /// What it holds.
        dtype: DType,
    },

    /// The names in a file are not those of the model.
    #[error(
        "the names do not match those of {model}; missing: {}; unexpected: {}",
        listed(missing),
        listed(unexpected)
    )]
    Names {
        /// Which naming was expected.
        model: &'static str,
        /// Names that should be there.
        missing: Vec<String>,
        /// Names that nothing is known of.
        unexpected: Vec<String>,
    },

    /// A tensor has another shape than the configuration asks for.
    #[error("tensor {name:?} has shape {found:?}, but {why}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The rule.
        why: String,
    },

    /// Each layer has its own table of position biases.
    #[error(
        "{name:?} differs from that of the first layer; fine-tuned image models have one table of position biases per \
         layer, here one table serves all layers; use the weights from before fine-tuning"
    )]
    LayersDiffer {
        /// The first table that differs.
        name: String,
    },

    /// No known naming fits.
    #[error(
        "no naming of data2vec 1.0 fits these tensors (first names: {}); known are transformers' folders, fairseq's \
         speech, text and image checkpoints and those of the original image repository",
        listed(first)
    )]
    UnknownNaming {
        /// Some of the names found.
        first: Vec<String>,
    },

    /// A field of a configuration file is not there.
    #[error(
        "{file} has no field `{field}`, which a {model} needs; it cannot be guessed, add it as it was trained"
    )]
    FieldMissing {
        /// The file.
        file: &'static str,
        /// The field.
        field: String,
        /// `model_type`.
        model: &'static str,
    },

    /// A field of a configuration file has a value that is not supported.
    #[error("{file}: `{field}` is {value}; supported: {supported}")]
    FieldValue {
        /// The file.
        file: &'static str,
        /// The field.
        field: String,
        /// Its value, as JSON.
        value: String,
        /// What is supported.
        supported: String,
    },

    /// A value in a torch file is not what was asked for.
    #[error("{at} is {found}, wanted: {wanted}")]
    Value {
        /// Where it stands, as keys joined by dots.
        at: String,
        /// What stands there; a Python object by its `module.name`.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

impl Error {
    /// For `map_err`: the path belongs to the message.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_path_buf(), source }
    }

    /// A file that breaks the rules of its format.
    #[expect(clippy::needless_pass_by_value, reason = "texts and errors alike are made for this call")]
    pub(crate) fn malformed(path: &Path, why: impl ToString) -> Error {
        Error::Malformed { path: path.to_path_buf(), why: why.to_string() }
    }

    /// An error when `found` exceeds `limit`.
    pub(crate) fn check_limit(what: impl Into<String>, found: u64, limit: u64) -> Result<()> {
        if found <= limit { Ok(()) } else { Err(Error::Limit { what: what.into(), found, limit }) }
    }
}

/// Names for a message: all up to 20, then how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "none".into(),
        _ if names.len() <= SHOWN => names.join(", "),
        _ => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_counted() {
        let names: Vec<String> = (0..25).map(|i| format!("n{i}")).collect();
        let error = Error::Names { model: "a model", missing: names, unexpected: vec![] };
        let text = error.to_string();
        assert!(text.contains("n19 and 5 more") && text.ends_with("unexpected: none"), "{text}");
    }

    #[test]
    fn an_old_torch_file_says_how_to_convert_it() {
        let text = Error::OldTorchFile { path: "a.pt".into() }.to_string();
        assert!(text.contains("torch.save(torch.load(\"OLD.pt\""), "{text}");
    }
}

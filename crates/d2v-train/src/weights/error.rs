//! What can be wrong with weights that go in or out, by who can mend it.

use crate::exit::Exit;
use std::path::PathBuf;

/// Why weights could not be taken in or given out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting of our network that transformers' classes cannot express.
    #[error("transformers has no such network: {key} = {value}; {rule}")]
    NotThere {
        /// The key, as in the TOML file.
        key: String,
        /// Its value.
        value: String,
        /// What those classes have.
        rule: String,
    },
    /// A field of their configuration that our network cannot express.
    #[error("config.json: `{field}` is {value}; {rule}")]
    NotHere {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is supported.
        rule: String,
    },
    /// Weights and network do not have the same parameters.
    #[error(
        "the weights of {origin} are not those of this network; {problems}. Give the [model] that these weights belong to"
    )]
    Mismatch {
        /// Where the weights come from.
        origin: String,
        /// All names that are missing, unexpected or of another shape.
        problems: String,
    },
    /// Same shapes, another computation.
    #[error(
        "{origin} has {key} = {theirs}, this run {ours}: the same weights would compute something else; set it to {theirs}"
    )]
    OtherNetwork {
        /// Where the weights come from.
        origin: String,
        /// The setting.
        key: String,
        /// There.
        theirs: String,
        /// Here.
        ours: String,
    },
    /// The ids of a text network mean nothing without what made them.
    #[error(
        "{path} has no tokenizer.json, and text weights mean nothing without it: put it there, or name it with --set \
         'data.text.unit={{ kind = \"file\", path = \"tokenizer.json\" }}'",
        path = path.display()
    )]
    NoTokenizer {
        /// What is imported.
        path: PathBuf,
    },
    /// A `.pt` file says nothing of heads, strides and epsilons.
    #[error(
        "a .pt file holds tensors only: name the network they belong to with --config, such as configs/speech-base.toml"
    )]
    NoConfig,
    /// transformers' folders hold one network.
    #[error("a folder of transformers holds one network: leave --of out")]
    NoTeacherThere,
    /// The recipe is for something else.
    #[error("these weights are a network for {theirs}, the recipe is one for {ours}; give another --config")]
    OtherModality {
        /// Of the weights.
        theirs: &'static str,
        /// Of the recipe.
        ours: &'static str,
    },
    /// A run is there already.
    #[error("{folder} already holds a run; name a new folder", folder = folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// The record of an import is damaged.
    #[error("{path}: {problem}; import the weights again", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What stands beside a tokenizer does not fit it.
    #[error("{path}: {problem}; mend that file or remove it", path = path.display())]
    SpecialTokens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// From the files.
    #[error(transparent)]
    File(#[from] d2v_weights::Error),
}

impl Error {
    /// How a program ends that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Error::File(d2v_weights::Error::Io { .. }) => Exit::Failed,
            Error::File(_) | Error::Record { .. } | Error::SpecialTokens { .. } => Exit::Data,
            _ => Exit::Usage,
        }
    }
}

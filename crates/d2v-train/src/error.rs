//! What can go wrong in a run, by who can mend it.

use std::path::PathBuf;

/// Errors of `d2v-train`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting out of its range.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The key, as in the TOML file.
        key: String,
        /// The value given.
        value: String,
        /// The rule it breaks, and the way out.
        rule: String,
    },
    /// The folder holds a run with other settings.
    #[error(
        "this folder holds a run whose `{key}` is {before}, not {now}; give another --out, or the same settings to go on"
    )]
    OtherConfiguration {
        /// The setting.
        key: String,
        /// In the folder.
        before: String,
        /// Asked for.
        now: String,
    },
    /// A batch without a hidden position teaches nothing.
    #[error(
        "update {update}: the masks hide nothing; raise the masking probability or the length of the inputs"
    )]
    NothingHidden {
        /// Number of the update.
        update: u64,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A schedule or length makes no sense.
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// A file of the run folder could not be read or written.
    #[error(transparent)]
    Output(#[from] crate::output_error::OutputError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// Settings could not be read.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    /// Features could not be gathered, probed or written.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::Error),
    /// Weights could not be taken in or given out.
    #[error(transparent)]
    Weights(#[from] crate::weights::Error),
    /// From the masks.
    #[error(transparent)]
    Masking(#[from] d2v_masking::Error),
    /// From the data.
    #[error(transparent)]
    Data(#[from] d2v_data::Error),
    /// From a front end.
    #[error(transparent)]
    Encoder(#[from] d2v_encoders::Error),
    /// From the Transformer.
    #[error(transparent)]
    Transformer(#[from] d2v_transformer::Error),
    /// From the teacher.
    #[error(transparent)]
    Ema(#[from] d2v_ema::Error),
    /// From targets and loss.
    #[error(transparent)]
    Targets(#[from] d2v_targets::Error),
    /// From libtorch, through d2v-torch.
    #[error(transparent)]
    Torch(#[from] d2v_torch::Error),
    /// From libtorch, through tch.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}

//! What can go wrong while features are gathered, probed or written.

use std::path::PathBuf;

use super::features::FeatureName;
use crate::exit::Exit;

/// An evaluation that cannot be done, with the rule that was broken and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor or list has another size than the rest of the call says.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The value that was checked.
        what: &'static str,
        /// The size that the other arguments ask for.
        expected: String,
        /// The size found.
        got: String,
    },

    /// Data whose groups cannot be told apart.
    #[error(
        "the data tells {} groups ({}), but two are needed to hold one out; --set data.audio.labels says where groups come from",
        found.len(), found.join(", ")
    )]
    Groups {
        /// The groups there are.
        found: Vec<String>,
    },

    /// A group that the data does not have.
    #[error("there is no group '{name}'; the groups are {}", found.join(", "))]
    NoSuchGroup {
        /// The name given.
        name: String,
        /// The groups there are.
        found: Vec<String>,
    },

    /// A part of the data holds no sample.
    #[error("the {part} part holds no labelled sample; give data with labels, or another --data")]
    Empty {
        /// "train" or "test".
        part: &'static str,
    },

    /// Features that are not numbers, usually of a network that diverged.
    #[error(
        "{bad} of {total} values of the {part} features '{name}' are not finite; the network has diverged, \
         probe an earlier checkpoint"
    )]
    NotFinite {
        /// Which features.
        name: FeatureName,
        /// "train" or "test".
        part: &'static str,
        /// Values that are infinite or not a number.
        bad: usize,
        /// All values.
        total: usize,
    },

    /// A label outside the list of classes.
    #[error("label {label} in the {part} part, but there are {classes} classes (labels start at 0)")]
    Label {
        /// The label found.
        label: u32,
        /// "train" or "test".
        part: &'static str,
        /// Number of classes.
        classes: usize,
    },

    /// A classifier needs something to tell apart.
    #[error("all {samples} training samples have label {label}; a probe needs at least two classes")]
    OneClass {
        /// The only label.
        label: u32,
        /// Number of training samples.
        samples: usize,
    },

    /// A setting outside its range.
    #[error("{name} = {value}: {rule}")]
    Setting {
        /// The setting as the user writes it.
        name: &'static str,
        /// The value given.
        value: String,
        /// The range, in words.
        rule: &'static str,
    },

    /// More neighbours than training samples.
    #[error(
        "{neighbours} neighbours asked of {samples} training samples; lower --neighbours or use more data"
    )]
    Neighbours {
        /// Neighbours asked for.
        neighbours: usize,
        /// Training samples there are.
        samples: usize,
    },

    /// A draw of few labels that the training part cannot give.
    #[error(
        "a balanced draw of {labels} labels needs {needed} of class {class}, but the training part has {available}; \
         lower --labels or raise --max-train"
    )]
    TooFewOfClass {
        /// Labels per draw.
        labels: usize,
        /// The class that is short.
        class: u32,
        /// Samples of it that the draw needs.
        needed: usize,
        /// Samples of it that there are.
        available: usize,
    },

    /// A layer that the network does not have.
    #[error("there is no 'block {block}': the network has blocks 1 to {blocks}")]
    NoSuchBlock {
        /// The block asked for, from 1.
        block: usize,
        /// Number of blocks.
        blocks: usize,
    },

    /// A name that stands for no features.
    #[error("'{given}' names no features; use average, last, embedding, or a block's number from 1")]
    FeatureName {
        /// The name given.
        given: String,
    },

    /// A sample of which nothing is left to average.
    #[error("sample {row} of the batch has no real token to pool")]
    NoRealToken {
        /// Row in the batch, from 0.
        row: usize,
    },

    /// A folder that is no run, or a run that has saved nothing yet.
    #[error(
        "no checkpoint in '{}'; give the folder of a run (--out of `d2v pretrain`) or one of its checkpoints",
        .folder.display()
    )]
    NoCheckpoint {
        /// The folder given.
        folder: PathBuf,
    },

    /// A sample whose class is not known where a class is needed.
    #[error("'{name}' has no label; probes need labelled samples")]
    Unlabelled {
        /// The sample's name.
        name: String,
    },

    /// The class token of a network that has none.
    #[error("the network has no class token; pool by mean, or write all tokens (--pool mean, --pool tokens)")]
    NoClassToken,

    /// Scores that were not made with the same samples cannot be compared item by item.
    #[error(
        "'{first}' and '{second}' were probed with different samples; give both the same --data and --seed"
    )]
    DifferentItems {
        /// One run.
        first: String,
        /// The other.
        second: String,
    },

    /// The runs given do not make a report.
    #[error(
        "a report needs scores of at least one run that is not a control, one control for all runs or one for each, and \
         no name twice; got {runs:?}"
    )]
    Runs {
        /// The names given.
        runs: Vec<String>,
    },

    /// Controls that cannot be told apart by their runs.
    #[error(
        "{controls} controls for {runs} runs: give one --control for all runs, or one for each, in the order of the runs or \
         with their seeds"
    )]
    Controls {
        /// Number of controls.
        controls: usize,
        /// Number of runs.
        runs: usize,
    },

    /// The ending of the output file names no format.
    #[error("'{}' has no known ending; write .npy or .safetensors", .path.display())]
    Ending {
        /// The path given.
        path: PathBuf,
    },

    /// The names and classes of the samples do not fit into the header of the format.
    #[error(
        "the header of '{}' would take {bytes} bytes, the safetensors format allows {limit}; write .npy, whose \
         names stand in a file of their own",
        .path.display()
    )]
    Header {
        /// The file being written.
        path: PathBuf,
        /// Bytes needed.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },

    /// The header of the output could not be made.
    #[error("cannot describe '{}'", .path.display())]
    Describe {
        /// The file being written.
        path: PathBuf,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },

    /// A file could not be written.
    #[error("cannot write '{}'; check the folder and the free space", .path.display())]
    Write {
        /// The file being written.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },

    /// libtorch refused an operation.
    #[error("libtorch failed while {doing}")]
    Torch {
        /// What was being done.
        doing: &'static str,
        /// What libtorch says.
        #[source]
        source: tch::TchError,
    },
}

impl Error {
    /// How a program ends that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Setting { .. }
            | Self::Neighbours { .. }
            | Self::TooFewOfClass { .. }
            | Self::NoSuchBlock { .. }
            | Self::FeatureName { .. }
            | Self::NoCheckpoint { .. }
            | Self::NoClassToken
            | Self::DifferentItems { .. }
            | Self::Runs { .. }
            | Self::Controls { .. }
            | Self::NoSuchGroup { .. }
            | Self::Ending { .. } => Exit::Usage,
            Self::Empty { .. }
            | Self::Groups { .. }
            | Self::OneClass { .. }
            | Self::Label { .. }
            | Self::Unlabelled { .. }
            | Self::NoRealToken { .. } => Exit::Data,
            Self::NotFinite { .. } => Exit::Diverged,
            Self::Shape { .. }
            | Self::Header { .. }
            | Self::Describe { .. }
            | Self::Write { .. }
            | Self::Torch { .. } => Exit::Failed,
        }
    }
}

//! Weights in and out: what `d2v export`, `d2v import` and `d2v pretrain --init` do.
//!
//! Files and names are the crate `d2v-weights`; here its plain descriptions become networks, and networks descriptions.
//!
//! - `describe`, `configure`: a network's settings to a description, and back.
//! - `convert`: tensors in files to tensors in networks, and back.
//! - `companions`: what goes beside the weights: how inputs are made.
//! - `special_tokens`: what the files beside a tokenizer call its special tokens.
//! - `adopt`: weights into a network, name by name.
//! - `export`: a run to a folder of transformers.
//! - `import`, `starting_point`: weights from elsewhere to a run folder at step 0.
//! - `init`: a run's weights as the start of another run.

mod adopt;
mod companions;
mod configure;
mod convert;
mod describe;
mod error;
mod export;
mod import;
mod init;
mod special_tokens;
mod starting_point;

pub use adopt::adopt;
pub use configure::{Beyond, configure};
pub use convert::{parameters, tensors};
pub use describe::{Described, describe};
pub use error::Error;
pub use export::export_hf;
pub use import::{Import, fairseq, hf};
pub use init::start_from;
pub use starting_point::{ImportRecord, write_starting_point};

use serde::{Deserialize, Serialize};

/// Which network of a run or of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The network that was trained; what the published fine-tunings start from.
    #[default]
    Student,
    /// Its moving average.
    Teacher,
}

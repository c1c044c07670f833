//! `d2v export`.

use crate::exit::Exit;
use crate::weights::{Of, export_hf};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// Arguments of `d2v export`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A run's folder, or one checkpoint's: RUN/checkpoints/step-N.
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Whose form the files have.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The folder to write; it must not hold a model.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Which network.
    #[arg(long, value_name = "NETWORK", value_enum, default_value_t = Of::Student)]
    pub of: Of,
}

/// A form of files that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder for transformers' `from_pretrained`.
    Hf,
}

const EXAMPLES: &str = "Examples:
  d2v export --run runs/base --format hf --out exported/
      then in Python: Data2VecVisionModel.from_pretrained(\"exported/\")
  d2v export --run runs/base/checkpoints/step-5000 --format hf --of teacher --out teacher/

Written are config.json, model.safetensors, and preprocessor_config.json or tokenizer.json with tokenizer_config.json.
What those classes have no place for, such as the prediction head, is said. A network that they cannot express is an
error that names the setting: of pictures they have relative position biases, a class token, biases of query and value
and LayerScale; of speech the waveform front end.";

/// Exports.
///
/// # Errors
/// If the run cannot be read, has a network that the format cannot express, or the folder is taken.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let notes = match args.format {
        Format::Hf => export_hf(&args.run, args.of, &args.out)?,
    };
    for note in notes {
        tracing::info!("{note}");
    }
    tracing::info!("written: {}", args.out.display());
    Ok(Exit::Done)
}

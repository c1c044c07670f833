//! `d2v import`.

use super::recipe::RecipeArgs;
use crate::exit::Exit;
use crate::weights::{Error, Of, fairseq, hf, write_starting_point};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// Arguments of `d2v import`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A folder of transformers, or a .pt file.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Whose files they are.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The run's folder to make.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Which network of a .pt file becomes the student; asked for the student, the teacher keeps its own weights.
    #[arg(long, value_name = "NETWORK", value_enum, default_value_t = Of::Student)]
    pub of: Of,
    /// All that the weights do not say. Without --config it is the tiny recipe of the modality.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// Forms of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder that transformers' `save_pretrained` wrote.
    Hf,
    /// A .pt file of fairseq 1.0 or of the original image code. It holds tensors only: --config names the network.
    Fairseq,
}

const EXAMPLES: &str = "Examples:
  d2v import --format hf data2vec-audio-base/ --out runs/published
      then: d2v probe --run runs/published --data recordings/
            d2v pretrain --config runs/published/config.toml --init runs/published --data recordings/ --out runs/mine
  d2v import --format fairseq audio_base_ls.pt --config configs/speech-base.toml --out runs/published
  d2v import --format fairseq nlp_base.pt --config configs/text-base.toml \\
      --set 'data.text.unit={ kind = \"file\", path = \"tokenizer.json\" }' --out runs/published

The folder is a run at step 0, for probe, embed, inspect, export, and pretrain --init. Parameters that the weights lack (at
most mask token and prediction head) have start values and are named here and in import.json.";

/// Imports.
///
/// # Errors
/// If the weights cannot be read, need what is not supported, or do not fit the network.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let import = match args.format {
        Format::Hf if args.of == Of::Teacher => return Err(crate::Error::from(Error::NoTeacherThere).into()),
        Format::Hf => hf(&args.path, |modality| args.recipe.load_for(modality))?,
        Format::Fairseq if args.recipe.config.is_none() => {
            return Err(crate::Error::from(Error::NoConfig).into());
        }
        Format::Fairseq => fairseq(&args.path, args.recipe.load()?, args.of)?,
    };
    let record = write_starting_point(import, &args.path, args.of, &args.out)?;
    for note in &record.notes {
        tracing::info!("{note}");
    }
    if !record.fresh.is_empty() {
        tracing::info!("not in those weights, so fresh: {}", record.fresh.join(", "));
    }
    tracing::info!("written: {}", args.out.display());
    Ok(Exit::Done)
}

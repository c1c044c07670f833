//! `d2v tokenizer`: units of text learnt from files.

use super::output::print;
use crate::atomic_file::write_atomically;
use crate::exit::Exit;
use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use d2v_data::{TextOptions, TextUnit, train_tokenizer};
use std::path::PathBuf;

/// Arguments of `d2v tokenizer`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v tokenizer train --data books/ --out tokenizer.json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Learn units from text and write them as tokenizer.json.
    Train(TrainArgs),
}

/// Arguments of `d2v tokenizer train`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v tokenizer train --data books/ --out tokenizer.json
      8,192 byte pairs, as GPT-2 and RoBERTa have them
  d2v tokenizer train --data 'wiki/*.jsonl.zst' --kind unigram --vocabulary 32000 --out tokenizer.json
  d2v pretrain --config configs/text-tiny.toml --data books/ --set data.text.unit='{ kind = \"file\", path = \"tokenizer.json\" }'

The train part is learnt from, where names tell parts apart, at most 256 MiB of it. The same text gives the same file.")]
pub struct TrainArgs {
    /// Text: a file, a folder or a pattern of .txt, .jsonl, also .gz or .zst
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What a token is
    #[arg(long, value_enum, default_value = "byte-pair")]
    pub kind: UnitName,
    /// Number of tokens at most, five special ones included
    #[arg(long, value_name = "N", default_value_t = 8_192)]
    pub vocabulary: usize,
    /// Field of a .jsonl line that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub field: String,
}

/// A unit that is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnitName {
    /// Byte-level byte pairs; nothing is unknown.
    BytePair,
    /// Pieces of words chosen by a unigram language model.
    Unigram,
    /// What stands between white space, the most frequent.
    Words,
    /// Unicode characters, the most frequent.
    Characters,
}

impl UnitName {
    fn unit(self, vocabulary: usize) -> TextUnit {
        match self {
            UnitName::BytePair => TextUnit::BytePair { vocabulary },
            UnitName::Unigram => TextUnit::Unigram { vocabulary },
            UnitName::Words => TextUnit::Words { vocabulary },
            UnitName::Characters => TextUnit::Characters { vocabulary },
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the text cannot be read, holds nothing, or the file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Command::Train(args) = &args.command;
    let unit = args.kind.unit(args.vocabulary);
    let options = TextOptions { unit, field: args.field.clone(), ..TextOptions::default() };
    options.validate().context(Exit::Usage)?;
    let tokenizer = train_tokenizer(&args.data, &options).context(Exit::Data)?;
    let json = tokenizer.to_json()?;
    write_atomically(&args.out, |file| file.write_all(&json))
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    print(&format!("{}: {} tokens\n", args.out.display(), tokenizer.vocabulary_size()))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_data::Tokenizer;

    #[test]
    fn every_kind_is_learnt_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("sea.txt"), folder.path().join("tokenizer.json"));
        std::fs::write(&data, "the sea is wide .\nthe ship is small .\n".repeat(40)).unwrap();
        for kind in [UnitName::BytePair, UnitName::Unigram, UnitName::Words, UnitName::Characters] {
            let (data, out, field) = (data.clone(), out.clone(), "text".to_owned());
            let train = TrainArgs { data, out: out.clone(), kind, vocabulary: 300, field };
            assert_eq!(run(&Args { command: Command::Train(train) }).unwrap(), Exit::Done, "{kind:?}");
            let tokenizer = Tokenizer::read(&out).unwrap();
            let ids = tokenizer.encode("the sea is small .").unwrap();
            assert_eq!(tokenizer.text(&ids).unwrap().replace(' ', ""), "theseaissmall.", "{kind:?}");
        }
    }

    #[test]
    fn what_cannot_be_learnt_from_is_told_apart() {
        let train = |data: &str, vocabulary| {
            let (data, out, kind) = (data.into(), "/nowhere/x.json".into(), UnitName::BytePair);
            let train = TrainArgs { data, out, kind, vocabulary, field: "text".into() };
            Exit::of(&run(&Args { command: Command::Train(train) }).unwrap_err())
        };
        assert_eq!((train("/nowhere", 300), train("/nowhere", 5)), (Exit::Data, Exit::Usage));
    }
}

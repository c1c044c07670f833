//! The command lines of `d2v probe` and `d2v embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use d2v_data::LabelledTextOptions;
use d2v_encoders::EncoderConfig;

use super::features::FeatureName;
use super::few_labels::FewLabelsConfig;
use super::knn;
use super::linear_probe::LinearProbeConfig;
use super::of_run::labelled_text;
use super::probe_data::ProbeSplit;
use super::score::{NetworkKind, ProbeSettings};
use crate::settings::Override;

const PROBE_EXAMPLES: &str = "\
Examples:
  d2v probe --run runs/a
      student, teacher and random start of one run, on the data it was trained on
  d2v probe --run runs/seed0 --run runs/seed1 --run runs/seed2 --control runs/frozen
      three seeds side by side with their mean, against a run whose teacher never moved
  d2v probe --run runs/seed0 --run runs/seed1 --control runs/frozen0 --control runs/frozen1
      each seed against the control of its own, with mean and standard error over the pairs
  d2v probe --run runs/a --data cifar10.tar.gz --json > probe.json
      other data, for a program to read
  d2v probe --run runs/speech --by-group jackson theo
      speech, tested on two speakers that the probe was not fitted to
  d2v probe --run runs/text --data sst2/ --text-column sentence
      text, by a table with a column of labels";

/// Arguments of `d2v probe`.
#[derive(Debug, Clone, Args)]
#[command(after_help = PROBE_EXAMPLES)]
pub struct ProbeArgs {
    /// Run folder; repeat it to lay runs that differ in their seed side by side
    #[arg(long = "run", value_name = "DIR", required = true)]
    pub runs: Vec<PathBuf>,

    /// Run folder to compare the others with: the same recipe with tau = 1. Give one for all runs; or one for each, paired
    /// by seed where each seed stands once on both sides, else in the order given
    #[arg(long = "control", value_name = "DIR")]
    pub controls: Vec<PathBuf>,

    /// Labelled data with a train and a test part; without it the data of the first run
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,

    /// Hold whole groups out for the test, such as speakers: about a fifth of them, or those named
    #[arg(long, value_name = "GROUP", num_args = 0..)]
    pub by_group: Option<Vec<String>>,

    /// Column or field of the text in tables; without it `sentence`, else `text`
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,

    /// Column or field of the label in tables of text
    #[arg(long, value_name = "NAME", default_value = "label")]
    pub label_column: String,

    /// A setting of how the data is read, such as data.audio.labels; as in `d2v pretrain`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,

    /// Features to report: average, last, embedding or a block's number from 1; repeat it for several, the first is
    /// the headline
    #[arg(long = "layer", value_name = "LAYER", default_values = ["average", "last"])]
    pub layers: Vec<FeatureName>,

    /// Labels of the few-label probe, balanced over the classes; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = FewLabelsConfig::default().labels)]
    pub labels: usize,

    /// Draws of the few-label probe
    #[arg(long, value_name = "N", default_value_t = FewLabelsConfig::default().draws)]
    pub draws: usize,

    /// Neighbours that vote in the kNN probe
    #[arg(long, value_name = "K", default_value_t = knn::DEFAULT_NEIGHBOURS)]
    pub neighbours: usize,

    /// Penalty of the linear probe on the squared weights (features in standard units, loss per sample)
    #[arg(long, value_name = "WEIGHT", default_value_t = LinearProbeConfig::default().l2)]
    pub l2: f64,

    /// Training samples used at most
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_train: usize,

    /// Test samples used at most
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub max_test: usize,

    /// Seed of the choice of samples and of the few-label draws, the same for all runs
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Where the networks run: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl ProbeArgs {
    /// How tables of text are read for a network.
    pub fn labelled_text(&self, encoder: &EncoderConfig) -> LabelledTextOptions {
        let (text_column, label_column) = (self.text_column.clone(), self.label_column.clone());
        LabelledTextOptions { text_column, label_column, ..labelled_text(encoder) }
    }

    /// How the test part is told.
    pub fn split(&self) -> ProbeSplit {
        self.by_group.clone().map_or(ProbeSplit::OfData, ProbeSplit::ByGroup)
    }

    /// How the features are to be probed. Ranges are checked where the settings are used.
    pub fn settings(&self) -> ProbeSettings {
        let few = FewLabelsConfig { labels: self.labels, draws: self.draws, seed: self.seed };
        ProbeSettings {
            linear: LinearProbeConfig { l2: self.l2, ..LinearProbeConfig::default() },
            neighbours: self.neighbours,
            few_labels: (self.labels > 0).then_some(few),
        }
    }
}

const EMBED_EXAMPLES: &str = "\
Examples:
  d2v embed --run runs/a --data pictures/ --out features.safetensors
      one vector per picture: the average of all layers, averaged over tokens
  d2v embed --run runs/a --data pictures/ --layer 3 --pool tokens --out tokens.npy
      every token of block 3; tokens.npy.json says which rows belong to which picture
  d2v embed --run runs/a --data cifar10.tar.gz --split test --of random --out start.npy
      the same network before training, as a baseline";

/// Arguments of `d2v embed`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EMBED_EXAMPLES)]
pub struct EmbedArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,

    /// Data to embed; labels are kept where there are any
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,

    /// File to write; the ending chooses the format, .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Features: average, last, embedding or a block's number from 1
    #[arg(long, value_name = "LAYER", default_value_t = FeatureName::Average)]
    pub layer: FeatureName,

    /// What becomes of the tokens of a sample
    #[arg(long, value_name = "HOW", value_enum, default_value_t = EmbedPooling::Mean)]
    pub pool: EmbedPooling,

    /// Whose features
    #[arg(long, value_name = "NETWORK", value_enum, default_value_t = NetworkKind::Student)]
    pub of: NetworkKind,

    /// Part of the data
    #[arg(long, value_name = "PART", value_enum, default_value_t = EmbedSplit::All)]
    pub split: EmbedSplit,

    /// Where the network runs: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
}

/// What becomes of the tokens of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmbedPooling {
    /// Their mean, without padding and class token
    Mean,
    /// The class token alone
    Class,
    /// All of them, without padding and class token, one row each
    Tokens,
}

/// Part of the data to embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmbedSplit {
    /// What a `train` level in the paths marks
    Train,
    /// What a `test`, `val` or `valid` level marks
    Test,
    /// Everything
    All,
}

impl From<EmbedSplit> for d2v_data::Split {
    fn from(split: EmbedSplit) -> Self {
        match split {
            EmbedSplit::Train => Self::Train,
            EmbedSplit::Test => Self::Test,
            EmbedSplit::All => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    enum Cli {
        Probe(ProbeArgs),
        Embed(EmbedArgs),
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("d2v").chain(line.split_whitespace()))
    }

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        for (text, examples) in [(PROBE_EXAMPLES, 6), (EMBED_EXAMPLES, 3)] {
            let lines = text.lines().filter_map(|line| line.strip_prefix("  d2v "));
            let commands: Vec<&str> = lines.map(|line| line.split(" >").next().unwrap_or(line)).collect();
            assert_eq!(commands.len(), examples, "{commands:?}");
            for command in commands {
                parse(command).unwrap_or_else(|error| panic!("{command}: {error}"));
            }
        }
    }

    #[test]
    fn flags_reach_the_settings() {
        let Ok(Cli::Probe(args)) =
            parse("probe --run a --run b --labels 50 --draws 3 --seed 9 --l2 0.1 --layer 2")
        else {
            panic!("a probe command");
        };
        let settings = args.settings();
        assert_eq!(settings.few_labels, Some(FewLabelsConfig { labels: 50, draws: 3, seed: 9 }));
        assert_eq!(settings.linear.l2, 0.1);
        assert_eq!(args.layers, [FeatureName::Block(2)]);
        let Ok(Cli::Probe(args)) = parse("probe --run a --labels 0") else { panic!("a probe command") };
        assert_eq!(args.settings().few_labels, None);
        assert_eq!(args.layers, [FeatureName::Average, FeatureName::Last]);
        assert_eq!((args.max_train, args.max_test), (10_000, 5_000));
    }

    #[test]
    fn wrong_names_are_refused_with_the_right_ones() {
        for line in ["probe --run a --layer best", "embed --run a --data b --out c --layer 0"] {
            assert!(
                parse(line).expect_err("no such layer").to_string().contains("use average, last"),
                "{line}"
            );
        }
        assert!(parse("probe").is_err());
        assert!(parse("embed --run a --data b --out c --of both").is_err());
    }
}

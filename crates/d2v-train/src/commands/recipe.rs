//! Which configuration a command works on: a file or the built-in recipe, overridden by flags.

use crate::config::RunConfig;
use crate::settings::{self, Override, Source};
use clap::Args;
use std::path::PathBuf;

/// The recipe that runs when no configuration is named.
const TINY: &str = include_str!("../../../../configs/image-tiny.toml");
/// The recipes for imported weights of the other modalities.
const TINY_SPEECH: &str = include_str!("../../../../configs/speech-tiny.toml");
const TINY_TEXT: &str = include_str!("../../../../configs/text-tiny.toml");

/// Flags that choose and change a configuration; the same in every command.
#[derive(Debug, Clone, Default, Args)]
pub struct RecipeArgs {
    /// Configuration file; without it, the tiny image recipe [configs/image-tiny.toml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder, .tar, .tar.gz, shards by pattern or IDX files; without it, what the configuration names, else pictures
    /// that the program draws.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Length of the run in updates.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Changes one setting, such as optimizer.weight_decay=0.01; may be given again and again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
}

impl RecipeArgs {
    /// The configuration with everything applied; `--set` comes last and wins.
    ///
    /// # Errors
    /// If the file cannot be read, or a key or value is wrong.
    pub fn load(&self) -> anyhow::Result<RunConfig> {
        self.load_or(Source::built_in("the built-in recipe image-tiny", TINY))
    }

    /// As [`load`](RecipeArgs::load), but without `--config` it is the tiny recipe of a modality, named as in files.
    ///
    /// # Errors
    /// As [`load`](RecipeArgs::load).
    pub fn load_for(&self, modality: &str) -> anyhow::Result<RunConfig> {
        self.load_or(match modality {
            "audio" => Source::built_in("the built-in recipe speech-tiny", TINY_SPEECH),
            "text" => Source::built_in("the built-in recipe text-tiny", TINY_TEXT),
            _ => Source::built_in("the built-in recipe image-tiny", TINY),
        })
    }

    fn load_or(&self, built_in: Source) -> anyhow::Result<RunConfig> {
        let source = match &self.config {
            Some(path) => Source::read(path)?,
            None => built_in,
        };
        let mut overrides = Vec::new();
        if let Some(steps) = self.steps {
            overrides.push(format!("train.length={{ steps = {steps} }}").parse()?);
        }
        if let Some(device) = &self.device {
            overrides.push(format!("device={}", toml::Value::from(device.as_str())).parse()?);
        }
        if let Some(data) = &self.data {
            let path = toml::Value::from(data.to_string_lossy().as_ref());
            overrides.push(format!("data.path={path}").parse()?);
        }
        overrides.extend(self.overrides.iter().cloned());
        Ok(settings::load(&source, &overrides)?)
    }
}

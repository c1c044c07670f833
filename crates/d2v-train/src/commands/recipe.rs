//! Which configuration a command works on: a file or the built-in recipe, overridden by flags.

use crate::config::RunConfig;
use crate::settings::{self, Override, Source};
use clap::Args;
use std::path::{Path, PathBuf};

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

    /// The folder of a run that names none: `runs/` and the name of the configuration's file, then that of `--data`. So
    /// runs of different recipes, or on different data, do not meet in one folder.
    pub fn default_out(&self) -> PathBuf {
        let config = self.config.as_deref().map_or_else(|| Some("image-tiny".to_owned()), name_of);
        let name: Vec<String> =
            [config, self.data.as_deref().and_then(name_of)].into_iter().flatten().collect();
        Path::new("runs").join(if name.is_empty() { "run".to_owned() } else { name.join("-") })
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

/// What a file or folder is called, without its endings, in letters that suit the name of a folder; absent where nothing
/// is left, as of `..`.
fn name_of(path: &Path) -> Option<String> {
    let mut name = Path::new(path.file_name()?);
    if name.extension().is_some_and(|ending| ending == "gz" || ending == "zst") {
        name = Path::new(name.file_stem()?);
    }
    let stem = name.file_stem()?.to_string_lossy();
    let kept = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let words = stem.split(|letter| !kept(letter)).filter(|word| !word.is_empty());
    Some(words.collect::<Vec<_>>().join("-")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: Option<&str>, data: Option<&str>, expected: &str) {
        let recipe = RecipeArgs {
            config: config.map(PathBuf::from),
            data: data.map(PathBuf::from),
            ..RecipeArgs::default()
        };
        assert_eq!(recipe.default_out(), Path::new(expected), "{config:?} {data:?}");
    }

    #[test]
    fn every_recipe_and_data_set_has_a_folder_of_its_own() {
        check(None, None, "runs/image-tiny");
        check(Some("configs/speech-tiny.toml"), None, "runs/speech-tiny");
        check(None, Some("/home/me/My pictures (new)/"), "runs/image-tiny-My-pictures-new");
        check(None, Some("cifar10.tar.gz"), "runs/image-tiny-cifar10");
        check(Some("text.toml"), Some("a/wiki.v2.jsonl.zst"), "runs/text-wiki.v2");
        check(None, Some("shards/train-*.tar"), "runs/image-tiny-train");
        check(None, Some(".."), "runs/image-tiny");
        check(Some("***.toml"), None, "runs/run");
    }
}

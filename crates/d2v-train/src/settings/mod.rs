//! Configuration files: strict TOML, overridden from the command line, saved as resolved.
//!
//! A key that nothing reads is an error which names the file, the line, the key and the nearest valid one; so is an override of a
//! setting that does not exist. Nothing is ignored: every key given must come out again when the loaded configuration is written,
//! so a configuration type has to write every key that it reads (no renaming aliases, nothing skipped but an absent `Option`).
//!
//! ```
//! use d2v_train::settings::{self, Source};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     batch_size: usize,
//! }
//!
//! let source = Source::built_in("the example", "batch_size = 64");
//! let config: Config = settings::load(&source, &["batch_size=32".parse()?])?;
//! assert_eq!(config.batch_size, 32);
//!
//! let error = settings::load::<Config>(&source, &["batchsize=32".parse()?]).err().unwrap();
//! assert!(error.to_string().starts_with("--set batchsize=32: unknown key `batchsize`; the nearest is `batch_size`"));
//! # Ok::<(), settings::SettingsError>(())
//! ```

mod diagnosis;
mod error;
mod overrides;

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

pub use error::{Place, SettingsError};
pub use overrides::Override;

/// No configuration is near this size; a wrong file given by mistake often is beyond it.
const MAX_BYTES: u64 = 1 << 20;

/// The text of a configuration and the name under which messages speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or has more than a mebibyte.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > MAX_BYTES {
            return Err(SettingsError::TooLarge { path: path.to_owned(), bytes, limit: MAX_BYTES });
        }
        let mut text = String::new();
        // A pipe tells no size beforehand.
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        Ok(Self { name: path.display().to_string(), text })
    }

    /// A text that is part of the program; `name` says which, such as "the built-in configuration image-tiny".
    pub fn built_in(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Reads the configuration, with the overrides applied in order (the last one wins).
///
/// The text may lack what the overrides supply.
///
/// # Errors
/// If the text is not TOML; a key or a name is unknown, a value is of the wrong type or a key is missing, whether in the text or
/// through an override. The error names the first override that spoils a configuration, else the line of the text.
pub fn load<T: Serialize + DeserializeOwned>(
    source: &Source,
    overrides: &[Override],
) -> Result<T, SettingsError> {
    let mut tables = vec![source.text.parse::<Table>().map_err(|error| diagnosis::in_text(source, &error))?];
    for setting in overrides {
        let mut table = tables[tables.len() - 1].clone();
        setting.apply(&mut table)?;
        tables.push(table);
    }
    let given = &tables[tables.len() - 1];
    match T::deserialize(given.clone()) {
        Ok(config) => {
            let resolved = Table::try_from(&config).map_err(|error| unwritable(&error))?;
            diagnosis::nothing_ignored(source, overrides, given, &resolved)?;
            Ok(config)
        }
        Err(error) => Err(diagnosis::blame::<T>(source, overrides, &tables, &error)),
    }
}

/// The configuration as TOML, to be saved with a run: loading it gives the same configuration again, and the order of keys is that
/// of the type's fields.
///
/// # Errors
/// If TOML cannot express a value, such as an integer above 2^63 - 1.
pub fn to_toml<T: Serialize>(config: &T) -> Result<String, SettingsError> {
    // The writer alone would let integers through that no reader accepts.
    Table::try_from(config).map_err(|error| unwritable(&error))?;
    toml::to_string_pretty(config).map_err(|error| unwritable(&error))
}

fn unwritable(error: &toml::ser::Error) -> SettingsError {
    SettingsError::Unwritable { problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        seed: u64,
        data: Data,
        optimizer: Optimizer,
        schedule: Schedule,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Data {
        path: Option<String>,
        batch_size: usize,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Optimizer {
        betas: [f64; 2],
        eps: f64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Schedule {
        Constant {},
        Cosine { warmup: u64, final_lr: f64 },
    }

    const TEXT: &str = "\
# A comment.
seed = 7

[data]
batch_size = 64

[optimizer]
betas = [0.9, 0.999]
eps = 1e-8

[schedule]
kind = 'cosine'
warmup = 10
final_lr = 1e-5
";

    fn load_with(text: &str, overrides: &[&str]) -> Result<Config, SettingsError> {
        let overrides: Vec<Override> = overrides.iter().map(|argument| argument.parse().unwrap()).collect();
        load(&Source::built_in("tiny.toml", text), &overrides)
    }

    #[track_caller]
    fn check_message(text: &str, overrides: &[&str], expected: &str) {
        let message = load_with(text, overrides).unwrap_err().to_string();
        assert!(message.starts_with(expected), "\n     got {message}\nexpected {expected}");
    }

    #[test]
    fn overrides_win_in_order() {
        let config = load_with(
            TEXT,
            &[
                "seed=8",
                "seed=9",
                "data.path=/my/pictures",
                "optimizer.betas=[0.9, 0.98]",
                "optimizer.eps=1",
                "schedule={kind='constant'}",
            ],
        )
        .unwrap();
        let data = Data { path: Some("/my/pictures".to_owned()), batch_size: 64 };
        let optimizer = Optimizer { betas: [0.9, 0.98], eps: 1.0 };
        assert_eq!(config, Config { seed: 9, data, optimizer, schedule: Schedule::Constant {} });
    }

    #[test]
    fn an_override_may_supply_what_the_text_lacks() {
        let text = TEXT.replace("seed = 7", "");
        check_message(&text, &[], "tiny.toml, line 1: missing field `seed`");
        assert_eq!(load_with(&text, &["seed=3"]).unwrap().seed, 3);
        check_message(
            &text,
            &["seed=3", "data.batchsize=4"],
            "--set data.batchsize=4: unknown key `data.batchsize`",
        );
    }

    #[test]
    fn unknown_keys_name_place_and_nearest() {
        let in_text = |from, to| TEXT.replace(from, to);
        check_message(
            &in_text("batch_size", "batchsize"),
            &[],
            "tiny.toml, line 5: unknown key `batchsize`; the nearest is `batch_size` (known here: path, batch_size)",
        );
        check_message(
            &in_text("[optimizer]", "[optimiser]"),
            &[],
            "tiny.toml, line 7: unknown key `optimiser`; the nearest is `optimizer`",
        );
        check_message(
            &in_text("final_lr", "final"),
            &[],
            "tiny.toml, line 14: unknown key `final`; the nearest is `final_lr` (known here: warmup, final_lr)",
        );
        check_message(
            &in_text("'cosine'", "'cosin'"),
            &[],
            "tiny.toml, line 12: unknown value `cosin`; the nearest is `cosine` (known here: constant, cosine)",
        );
        check_message(
            TEXT,
            &["seed=1", "optimiser.eps=1"],
            "--set optimiser.eps=1: unknown key `optimiser`; the nearest is `optimizer`",
        );
        check_message(
            TEXT,
            &["optimizer.epsilon=1"],
            "--set optimizer.epsilon=1: unknown key `optimizer.epsilon`; the nearest is `optimizer.eps`",
        );
        check_message(
            TEXT,
            &["schedule={ kind='constant', warmup=1 }"],
            "--set schedule={ kind='constant', warmup=1 }: unknown key `warmup`; no key can stand here, remove it",
        );
        check_message(
            TEXT,
            &["batch_size=1"],
            "--set batch_size=1: unknown key `batch_size`; the nearest is `data.batch_size`",
        );
    }

    #[test]
    fn stray_keys_of_a_kind_without_any_are_refused() {
        let text = TEXT.replace("'cosine'", "'constant'");
        check_message(
            &text,
            &[],
            "tiny.toml, line 14: unknown key `final_lr`; no key can stand here, remove it",
        );
        check_message(
            TEXT,
            &["schedule.kind=constant"],
            "--set schedule.kind=constant: unknown field `final_lr`, there are no fields; another kind has other keys",
        );
    }

    #[test]
    fn wrong_values_name_the_line_and_the_way_out() {
        check_message(
            &TEXT.replace("seed = 7", "seed = 'x'"),
            &[],
            "tiny.toml, line 2: invalid type: string \"x\", expected u64; a number is written",
        );
        check_message(TEXT, &["optimizer.eps=.5"], "--set optimizer.eps=.5: invalid type: string \".5\"");
        check_message(
            TEXT,
            &["data.path=5"],
            "--set data.path=5: invalid type: integer `5`, expected a string; put it",
        );
        check_message("seed = ", &[], "tiny.toml, line 1: ");
        check_message("seed = 1\nseed = 2", &[], "tiny.toml, line 2: duplicate key");
    }

    #[test]
    fn a_type_that_reads_past_keys_does_not_hide_them() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Lenient {
            inner: BTreeMap<String, u64>,
        }
        let source = Source::built_in("lenient.toml", "[inner]\na = 1\n\n[iner]\nb = 1\n");
        let error = load::<Lenient>(&source, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("lenient.toml, line 4: unknown key `iner`; the nearest is `inner`"),
            "{error}"
        );
        let source = Source::built_in("lenient.toml", "[inner]\na = 1");
        let error = load::<Lenient>(&source, &["other.x=1".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.starts_with("--set other.x=1: unknown key `other`"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_configurations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing.toml");
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.contains("missing.toml: give the path"), "{error}");
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.contains("has 1048577 bytes"), "{error}");
        std::fs::write(&path, TEXT).unwrap();
        assert_eq!(load::<Config>(&Source::read(&path).unwrap(), &[]).unwrap().seed, 7);
    }

    #[test]
    fn what_toml_cannot_say_is_refused() {
        let config = Config { seed: u64::MAX, ..load_with(TEXT, &[]).unwrap() };
        assert!(matches!(to_toml(&config), Err(SettingsError::Unwritable { .. })));
    }

    proptest! {
        #[test]
        fn saved_configurations_load_as_they_were(
            seed in 0..=i64::MAX as u64,
            path in proptest::option::of(any::<String>()),
            batch_size in 0..=i32::MAX as usize,
            betas in any::<[f64; 2]>(),
            eps in any::<f64>(),
            cosine in proptest::option::of((0..1_u64 << 62, any::<f64>())),
        ) {
            let schedule = match cosine {
                None => Schedule::Constant {},
                Some((warmup, final_lr)) => Schedule::Cosine { warmup, final_lr },
            };
            let config = Config {
                seed,
                data: Data { path, batch_size },
                optimizer: Optimizer { betas, eps },
                schedule,
            };
            let text = to_toml(&config).unwrap();
            prop_assert_eq!(&load_with(&text, &[]).unwrap(), &config);
            prop_assert_eq!(to_toml(&load_with(&text, &[]).unwrap()).unwrap(), text);
        }
    }
}

//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file or a built-in text; the line counts from 1 and is missing only where the parser cannot tell.
    Text {
        /// The file's path, or the name of the built-in text.
        name: String,
        /// Line, from 1.
        line: Option<usize>,
    },
    /// On the command line, as `--set`.
    Override {
        /// The argument of `--set` as given.
        argument: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { name, line: Some(line) } => write!(f, "{name}, line {line}"),
            Self::Text { name, line: None } => write!(f, "{name}"),
            Self::Override { argument } => write!(f, "--set {argument}"),
        }
    }
}

/// A configuration that cannot be used: a mistake of usage, exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: give the path of a TOML file, such as one in configs/", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is far too large to be a configuration.
    #[error("{} has {bytes} bytes; a configuration has at most {limit}: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size read.
        limit: u64,
    },
    /// A key that nothing reads.
    #[error("{place}: unknown key `{key}`; the nearest is `{nearest}` (known here: {})", known.join(", "))]
    UnknownKey {
        /// Where it was written.
        place: Place,
        /// The key, with the tables it stands in as far as they are known.
        key: String,
        /// The valid key most like it.
        nearest: String,
        /// All keys valid in that table.
        known: Vec<String>,
    },
    /// A key in a table that has none.
    #[error("{place}: unknown key `{key}`; no key can stand here, remove it")]
    NoKeyHere {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
    },
    /// A value outside a closed list of names.
    #[error("{place}: unknown value `{value}`; the nearest is `{nearest}` (known here: {})", known.join(", "))]
    UnknownValue {
        /// Where it was written.
        place: Place,
        /// The value.
        value: String,
        /// The valid value most like it.
        nearest: String,
        /// All valid values.
        known: Vec<String>,
    },
    /// Not TOML, a value of the wrong type, or a key missing.
    #[error("{place}: {problem}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong, in the parser's words.
        problem: String,
        /// The way out, where the words do not say.
        hint: Option<&'static str>,
    },
    /// A configuration that TOML cannot express, such as an integer above 2^63 - 1.
    #[error("the configuration cannot be written as TOML: {problem}")]
    Unwritable {
        /// Why.
        problem: String,
    },
}

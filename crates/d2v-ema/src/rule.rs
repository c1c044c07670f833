//! Which tensors are averaged, copied or left alone.

use serde::{Deserialize, Serialize};

/// What happens to one teacher tensor at an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Moves towards the student's by `1 - tau`.
    Averaged,
    /// Becomes the student's: a part that both share.
    Copied,
    /// Stays.
    Untouched,
}

/// Prefixes of names and their fate; the longest prefix that fits decides. The empty prefix fits every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    prefixes: Vec<(String, Fate)>,
    student_only: Vec<String>,
}

impl Rule {
    /// Every tensor is averaged, and the student has none of its own.
    pub fn average_all() -> Rule {
        Rule { prefixes: vec![(String::new(), Fate::Averaged)], student_only: Vec::new() }
    }

    /// Gives the names under `prefix` another fate.
    #[must_use]
    pub fn with(mut self, prefix: &str, fate: Fate) -> Rule {
        self.prefixes.push((prefix.to_owned(), fate));
        self
    }

    /// Lists names under `prefix` as the student's own: the teacher has no such part (the prediction head).
    #[must_use]
    pub fn student_only(mut self, prefix: &str) -> Rule {
        self.student_only.push(prefix.to_owned());
        self
    }

    /// The fate of a name; where two prefixes are equal the later one decides.
    pub fn fate(&self, name: &str) -> Option<Fate> {
        let fitting = self.prefixes.iter().filter(|(prefix, _)| name.starts_with(prefix.as_str()));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, fate)| *fate)
    }

    /// Whether a name is listed as the student's own.
    pub fn is_student_only(&self, name: &str) -> bool {
        self.student_only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

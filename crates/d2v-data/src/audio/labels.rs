//! Where the labels and groups of sound files come from.

use super::error::AudioError;
use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Where labels (classes), groups (speakers) and the test part come from.
///
/// ```
/// use d2v_data::{AudioLabels, AudioOptions};
/// // Files such as 7_jackson_32.wav, of which those with index 0 to 4 are for testing.
/// let options: AudioOptions = toml::from_str(r#"
///     sample_rate_hz = 8_000
///     min_seconds = 0.0
///     [labels]
///     kind = "pattern"
///     pattern = "{label}_{group}_{index}"
///     test_when = { placeholder = "index", is_one_of = ["0", "1", "2", "3", "4"] }
/// "#)?;
/// assert!(matches!(options.labels, AudioLabels::Pattern { .. }));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AudioLabels {
    /// The second column of a list; for everything else as [`Folder`](Self::Folder).
    Auto {},
    /// The class is the name of the folder, as for pictures; there are no groups but those of a list's third column.
    Folder {},
    /// The second column of a list is the class, the third, where there is one, the group; for other data an error.
    List {},
    /// Parts of the file's name, without extension, or of the end of its path.
    Pattern {
        /// The name with placeholders in braces, such as `{label}_{group}_{index}`: `{label}` is the class, `{group}`
        /// the group, others only have a name. Between two placeholders stands some text; each takes as little of the
        /// name as fits, the last takes the rest. Names that do not fit are left out.
        ///
        /// With `/` in it, the pattern is that of the name and of so many folders above it, and no placeholder reaches
        /// beyond its folder: `{label}/{group}_{take}` fits `clips/yes/ann_3.wav`, as label `yes` and group `ann`.
        /// The folders are those inside the data set: below the folder opened, in the archive, or as a list names them.
        pattern: String,
        /// Which files are the test part; without it, `train` and `test` folders.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test_when: Option<TestWhen>,
    },
}

impl Default for AudioLabels {
    fn default() -> Self {
        Self::Auto {}
    }
}

/// Files are for testing when a placeholder of the pattern has one of some values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestWhen {
    /// The placeholder's name, without braces.
    pub placeholder: String,
    /// The values, compared as text.
    pub is_one_of: Vec<String>,
}

/// A parsed pattern: some text, then placeholders, each with the text that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: String,
    placeholders: Vec<(String, String)>,
    /// How many folders above the file the pattern speaks of.
    folders: usize,
    test: Option<(usize, Vec<String>)>,
}

/// What a name says by a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NameParts {
    pub(super) label: Option<String>,
    pub(super) group: Option<String>,
    /// `None` if the pattern does not say.
    pub(super) is_test: Option<bool>,
}

impl Template {
    /// # Errors
    /// [`AudioError::Pattern`] if braces do not match, a folder has no name, placeholders touch, repeat, or none is
    /// `label` or `group`, or if `test_when` names one that is not there.
    pub(super) fn new(pattern: &str, test_when: Option<&TestWhen>) -> Result<Self, Error> {
        let refuse = |problem: String| Err(AudioError::Pattern { pattern: pattern.into(), problem }.into());
        let mut pieces = pattern.split('{');
        let before = pieces.next().unwrap_or_default().to_owned();
        let mut placeholders: Vec<(String, String)> = Vec::new();
        let mut stray = before.contains('}');
        for piece in pieces {
            match piece.split_once('}') {
                Some((name, after)) if !after.contains('}') => placeholders.push((name.into(), after.into())),
                _ => stray = true,
            }
        }
        if stray {
            return refuse("has braces that do not match".into());
        }
        if placeholders.iter().any(|(name, _)| name.contains('/')) {
            return refuse("has a '/' inside braces; it stands between placeholders".into());
        }
        let folders = pattern.matches('/').count();
        if folders > 0 && pattern.split('/').any(str::is_empty) {
            return refuse("begins or ends with '/' or has two in a row; it names the end of a path".into());
        }
        for (at, (name, after)) in placeholders.iter().enumerate() {
            if name.is_empty() || placeholders[..at].iter().any(|(other, _)| other == name) {
                return refuse(format!("has a placeholder '{{{name}}}' without a name of its own"));
            }
            if after.is_empty() && at + 1 < placeholders.len() {
                return refuse(format!("needs some text after '{{{name}}}' to tell where the next begins"));
            }
        }
        if !placeholders.iter().any(|(name, _)| name == "label" || name == "group") {
            return refuse("has neither {label} nor {group}".into());
        }
        let test = match test_when {
            None => None,
            Some(TestWhen { placeholder, is_one_of }) => {
                match placeholders.iter().position(|(name, _)| name == placeholder) {
                    Some(at) => Some((at, is_one_of.clone())),
                    None => return refuse(format!("has no '{{{placeholder}}}', which `test_when` names")),
                }
            }
        };
        Ok(Self { before, placeholders, folders, test })
    }

    /// What a path with `/` between its parts says; `None` if it does not fit.
    pub(super) fn read(&self, path: &str) -> Option<NameParts> {
        // As many '/' as the pattern has: each stands for one of them, and none is left for a placeholder's value.
        let tail = match path.rmatch_indices('/').nth(self.folders) {
            Some((slash, _)) => &path[slash + 1..],
            None => path,
        };
        let mut rest = without_extension(tail).strip_prefix(self.before.as_str())?;
        let mut values = Vec::with_capacity(self.placeholders.len());
        let last = self.placeholders.len() - 1;
        for (at, (_, after)) in self.placeholders.iter().enumerate() {
            let value = if at == last {
                rest.strip_suffix(after.as_str())?
            } else {
                let (value, tail) = rest.split_once(after.as_str())?;
                rest = tail;
                value
            };
            if value.is_empty() {
                return None;
            }
            values.push(value);
        }
        let named = |wanted| {
            let at = self.placeholders.iter().position(|(name, _)| name == wanted)?;
            Some(values[at].to_owned())
        };
        let is_test = self.test.as_ref().map(|(at, of)| of.iter().any(|value| value == values[*at]));
        Some(NameParts { label: named("label"), group: named("group"), is_test })
    }
}

fn without_extension(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => stem,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: Option<(&str, &str)>) {
        let parts = Template::new(pattern, None).unwrap().read(path);
        let got = parts.map(|parts| (parts.label.unwrap_or_default(), parts.group.unwrap_or_default()));
        let expected = expected.map(|(label, group)| (label.to_owned(), group.to_owned()));
        assert_eq!(got, expected, "{pattern} on {path}");
    }

    #[test]
    fn names_are_taken_apart() {
        check("{label}_{group}_{index}", "7_jackson_32.wav", Some(("7", "jackson")));
        check("{label}_{group}_{index}", "7_jackson_32_b", Some(("7", "jackson")));
        check("{label}_{group}_{index}", "a_b/c.d/7_jackson_32.b.wav", Some(("7", "jackson")));
        check("{group}-{chapter}-{utterance}", "84-121123-0000", Some(("", "84")));
        check("say-{label}!", "say-yes!", Some(("yes", "")));
        for stem in ["7_jackson", "7__3", "_a_3", "7_jackson_", ""] {
            check("{label}_{group}_{index}", stem, None);
        }
        check("say-{label}!", "yes!", None);
        check("{label}-{group}", "dots.in/folders-only", Some(("folders", "only")));
    }

    #[test]
    fn ends_of_paths_are_taken_apart() {
        check("{label}/{group}_{take}", "yes/ann_3.wav", Some(("yes", "ann")));
        check("{label}/{group}_{take}", "x/train/yes/ann_3_b.wav", Some(("yes", "ann")));
        check("{group}/{label}/{take}", "data/ann/yes/3.wav", Some(("yes", "ann")));
        check("{group}/{label}/{take}", "/full/path/ann/yes/3.wav", Some(("yes", "ann")));
        check("speaker-{group}/{a}_{label}/{take}", "speaker-4/x_y_z/3.wav", Some(("y_z", "4")));
        check("{group}/audio/{label}", "ann/audio/yes.wav", Some(("yes", "ann")));
        // Too few folders; another folder; a value that would reach beyond its folder.
        check("{label}/{group}_{take}", "ann_3.wav", None);
        check("{group}/audio/{label}", "ann/video/yes.wav", None);
        check("{a}_{label}/{take}", "x/a_b.wav", None);
        check("{label}/{group}_{take}", "ye_s/ann.wav", None);
        check("{label}/{group}_{take}", "/ann_3.wav", None);
    }

    #[test]
    fn the_test_part_is_told_by_a_value() {
        let when = TestWhen { placeholder: "index".into(), is_one_of: vec!["0".into(), "4".into()] };
        let template = Template::new("{label}_{index}", Some(&when)).unwrap();
        assert_eq!(template.read("a_4.wav").unwrap().is_test, Some(true));
        assert_eq!(template.read("a_40.wav").unwrap().is_test, Some(false));
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for pattern in [
            "",
            "plain",
            "{index}",
            "{label",
            "label}",
            "{label}{group}",
            "{label}_{label}",
            "{}_{label}",
            "{a}}_{label}",
            "/{label}",
            "{label}/",
            "{group}//{label}",
            "{group/x}_{label}",
        ] {
            assert!(Template::new(pattern, None).is_err(), "{pattern}");
        }
        let when = TestWhen { placeholder: "take".into(), is_one_of: vec![] };
        assert!(Template::new("{label}_{index}", Some(&when)).is_err());
    }
}

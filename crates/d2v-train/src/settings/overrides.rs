//! `--set a.b=c`: one setting, from the command line.

use std::str::FromStr;

use toml::{Table, Value};

use super::{Place, SettingsError};

/// One setting given on the command line, which wins over the file's.
///
/// The value is TOML: `0.5`, `true`, `"text"`, `[1, 2]`, `{ epochs = 10 }`. What is not TOML and starts like none of quotes,
/// brackets and braces is text, so that `--set data.path=/my/pictures` needs no quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
    argument: String,
}

impl Override {
    /// The keys from the outermost table to the setting.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Where it was written, for messages.
    pub(super) fn place(&self) -> Place {
        Place::Override { argument: self.argument.clone() }
    }

    /// Puts the value into `table`, making the tables on the way that are missing.
    ///
    /// # Errors
    /// If something on the way is not a table.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), SettingsError> {
        let Some((last, tables)) = self.path.split_last() else {
            return Err(self.malformed("write it as key=value"));
        };
        let mut inner = table;
        for key in tables {
            let next = inner.entry(key).or_insert_with(|| Value::Table(Table::new()));
            inner = match next {
                Value::Table(next) => next,
                Value::Array(_) => return Err(self.malformed("a list can only be set whole: key=[1, 2]")),
                _ => return Err(self.malformed("a key on the way is no table, and has no keys in it")),
            };
        }
        inner.insert(last.clone(), self.value.clone());
        Ok(())
    }

    fn malformed(&self, hint: &'static str) -> SettingsError {
        SettingsError::Invalid {
            place: self.place(),
            problem: "this setting cannot be made".to_owned(),
            hint: Some(hint),
        }
    }
}

impl FromStr for Override {
    type Err = SettingsError;

    fn from_str(argument: &str) -> Result<Self, SettingsError> {
        let invalid = |problem: String, hint| SettingsError::Invalid {
            place: Place::Override { argument: argument.to_owned() },
            problem,
            hint: Some(hint),
        };
        let Some((path, text)) = argument.split_once('=') else {
            return Err(invalid(
                "there is no `=`".to_owned(),
                "write it as key=value, such as --set checkpoint.every_steps=100",
            ));
        };
        let path: Vec<String> = path.trim().split('.').map(|key| key.trim().to_owned()).collect();
        let bare = |key: &String| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        };
        if !path.iter().all(bare) {
            return Err(invalid(
                "a key is letters, digits, `_` and `-`".to_owned(),
                "name the tables on the way with dots between, such as a.b=1",
            ));
        }
        let text = text.trim();
        let value = match Value::from_str(text) {
            Ok(value) => value,
            Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
                let hint = "quote the whole for the shell, and texts inside lists and tables for TOML";
                return Err(invalid(error.message().to_owned(), hint));
            }
            Err(_) => Value::String(text.to_owned()),
        };
        Ok(Self { path, value, argument: argument.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(argument: &str, expected_toml: &str) {
        let mut table = Table::new();
        argument.parse::<Override>().unwrap().apply(&mut table).unwrap();
        assert_eq!(table, expected_toml.parse::<Table>().unwrap());
    }

    #[track_caller]
    fn check_refused(argument: &str, part: &str) {
        let error = argument.parse::<Override>().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(argument), "{error}");
    }

    #[test]
    fn values_are_toml_and_bare_words_are_text() {
        check("a=1", "a = 1");
        check("a.b.c=1e-3", "a.b.c = 1e-3");
        check("a = true", "a = true");
        check("a=[1, 2]", "a = [1, 2]");
        check("a={ epochs = 10 }", "a = { epochs = 10 }");
        check("a='1'", "a = '1'");
        check("a=cosine", "a = 'cosine'");
        check("a=/my/pictures with spaces", "a = '/my/pictures with spaces'");
        check("a=x=y", "a = 'x=y'");
        check("a=", "a = ''");
        check("a=1\nb = 2", "a = \"1\\nb = 2\"");
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        check_refused("a", "there is no `=`");
        check_refused("=1", "a key is letters");
        check_refused("a..b=1", "a key is letters");
        check_refused("a b=1", "a key is letters");
        check_refused("a=[1,", "quote the whole");
        check_refused("a=\"x", "quote the whole");
    }

    #[test]
    fn lists_and_values_have_no_keys() {
        for (argument, part) in [("list.0=1", "can only be set whole"), ("number.x=1", "is no table")] {
            let mut table: Table = "list = [1]\nnumber = 1".parse().unwrap();
            let error = argument.parse::<Override>().unwrap().apply(&mut table).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

//! From what the parser says to a message that names the place, the key and the nearest valid one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Override, Place, SettingsError, Source};

/// An error of the text itself.
pub(super) fn in_text(source: &Source, error: &toml::de::Error) -> SettingsError {
    let line = error.span().map(|span| line_of(&source.text, span.start));
    explain(Place::Text { name: source.name.clone(), line }, error.message(), &[], None)
}

/// The error to report when the text with all overrides is refused.
///
/// `tables` holds what is given without any override, with the first, with the first two, and so on.
pub(super) fn blame<T: Serialize + DeserializeOwned>(
    source: &Source,
    overrides: &[Override],
    tables: &[Table],
    error: &toml::de::Error,
) -> SettingsError {
    // The last step from a good configuration to a bad one is the culprit: earlier bad ones were mended by later overrides.
    let last_good = tables.iter().enumerate().rev().find_map(|(index, table)| {
        let config = T::deserialize(table.clone()).ok()?;
        Some((index, Table::try_from(&config).ok()?))
    });
    if let Some((index, good)) = last_good {
        let culprit = &overrides[index];
        return explain(culprit.place(), error.message(), culprit.path(), Some(&good));
    }
    // The text is bad by itself. Reading it as text, not as a table, tells the line.
    match toml::from_str::<T>(&source.text) {
        Err(error) => {
            let mut report = in_text(source, &error);
            if let SettingsError::UnknownKey { place, key, .. } | SettingsError::NoKeyHere { place, key } =
                &mut report
            {
                // A tagged enum reports its whole table; the key is on one of the lines from there.
                let from = error.span().map_or(0, |span| span.start);
                if let Some(line) = line_of_key(&source.text, from, key) {
                    *place = Place::Text { name: source.name.clone(), line: Some(line) };
                }
            }
            report
        }
        Ok(_) => explain(Place::Text { name: source.name.clone(), line: None }, error.message(), &[], None),
    }
}

/// Refuses keys that were given but do not come out of the resolved configuration: something read past them.
pub(super) fn nothing_ignored(
    source: &Source,
    overrides: &[Override],
    given: &Table,
    resolved: &Table,
) -> Result<(), SettingsError> {
    let Some((path, known)) = first_ignored(given, resolved, &mut Vec::new()) else {
        return Ok(());
    };
    let sets = |setting: &&Override| path.starts_with(setting.path()) || setting.path().starts_with(&path);
    let place = match overrides.iter().rev().find(sets) {
        Some(setting) => setting.place(),
        None => {
            let line = path.last().and_then(|key| line_of_key(&source.text, 0, key));
            Place::Text { name: source.name.clone(), line }
        }
    };
    Err(unknown_key(place, path.join("."), path.last().map_or("", String::as_str), known))
}

/// The path of the first key of `given` that `resolved` lacks, and the keys that `resolved` has in that table.
fn first_ignored(
    given: &Table,
    resolved: &Table,
    path: &mut Vec<String>,
) -> Option<(Vec<String>, Vec<String>)> {
    for (key, value) in given {
        path.push(key.clone());
        match (value, resolved.get(key)) {
            (_, None) => return Some((path.clone(), resolved.keys().cloned().collect())),
            (Value::Table(given), Some(Value::Table(resolved))) => {
                if let Some(found) = first_ignored(given, resolved, path) {
                    return Some(found);
                }
            }
            _ => {}
        }
        path.pop();
    }
    None
}

/// Turns the parser's message into an error; `override_path` and `good` are set when an override is to blame.
fn explain(place: Place, message: &str, override_path: &[String], good: Option<&Table>) -> SettingsError {
    let changes_kind = override_path.last().is_some_and(|key| key == "kind");
    // Serde's own wording, pinned by a test: unknown field `x`, expected one of `a`, `b`.
    let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("unknown field `") && !changes_kind {
        let field = quoted.next().unwrap_or_default();
        let known: Vec<String> = quoted.collect();
        let at = override_path.iter().position(|key| *key == field);
        // A key that the override names may exist by that very name in another table.
        let elsewhere = at.and(good).and_then(|good| path_ending_in(good, &field));
        let key = at.map_or_else(|| field.clone(), |at| override_path[..=at].join("."));
        if let Some(nearest) = elsewhere {
            return SettingsError::UnknownKey { place, key, nearest, known };
        }
        return unknown_key(place, key, &field, known);
    }
    if message.starts_with("unknown variant `") {
        let value = quoted.next().unwrap_or_default();
        let known: Vec<String> = quoted.collect();
        if let Some(nearest) = nearest(&value, &known) {
            return SettingsError::UnknownValue { place, value, nearest, known };
        }
    }
    let hint = if changes_kind {
        Some(
            "another kind has other keys: set the whole table, such as --set \"table={ kind = 'constant', ... }\"",
        )
    } else if message.starts_with("invalid type: string") {
        Some("a number is written as in 1, 0.5 or 1e-3, a truth value as true or false")
    } else if message.contains("expected a string") {
        Some("put it in quotes: '\"text\"'")
    } else {
        None
    };
    let problem = message.trim_end().replace('\n', ", ");
    SettingsError::Invalid { place, problem, hint }
}

fn unknown_key(place: Place, key: String, last: &str, known: Vec<String>) -> SettingsError {
    match nearest(last, &known) {
        Some(nearest) => {
            let outer = key.rsplit_once('.').map(|(outer, _)| format!("{outer}.")).unwrap_or_default();
            SettingsError::UnknownKey { place, key, nearest: format!("{outer}{nearest}"), known }
        }
        None => SettingsError::NoKeyHere { place, key },
    }
}

/// The name most like `name`; the first of equals.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let mut best: Option<(f64, &String)> = None;
    for candidate in known {
        let likeness = strsim::jaro_winkler(name, candidate);
        if best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, name)| name.clone())
}

/// The dotted path of a key called `name`, at any depth.
fn path_ending_in(table: &Table, name: &str) -> Option<String> {
    if table.contains_key(name) {
        return Some(name.to_owned());
    }
    table.iter().find_map(|(key, value)| match value {
        Value::Table(inner) => path_ending_in(inner, name).map(|rest| format!("{key}.{rest}")),
        _ => None,
    })
}

/// The line, from 1, that holds byte `at`.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// The first line, not before byte `from`, that sets `key` or opens a table whose name ends in it.
fn line_of_key(text: &str, from: usize, key: &str) -> Option<usize> {
    let first = line_of(text, from);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let names = |line: &str| {
        let end = if line.starts_with('[') { ']' } else { '=' };
        line.split(['{', ',']).any(|part| {
            let name = part.split_once(end).map_or("", |(name, _)| name).trim();
            name.split('.').any(|word| word.trim_matches(|c| !is_name(c)) == key)
        })
    };
    (first..)
        .zip(text.lines().skip(first - 1))
        .find(|(_, line)| names(line.trim_start()))
        .map(|(line, _)| line)
}

//! Lists of sound files: two columns of path and label, and fairseq's manifests.

use super::error::AudioError;
use crate::dataset::Ignored;
use crate::error::Error;
use crate::source::listing::{Found, Listing, Place};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The first cells of a header line.
const HEADERS: [&str; 4] = ["path", "file", "filename", "file_name"];

/// Files named by a list, and the label of each, in the same order; all `None` for a manifest.
pub(super) struct Listed {
    pub(super) listing: Listing,
    pub(super) labels: Vec<Option<String>>,
    /// Whether the list has a column of labels.
    pub(super) has_labels: bool,
}

pub(super) fn has_list_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("tsv" | "csv" | "txt"))
}

/// Reads a list: a manifest if its first line is one cell that names a folder and a .tsv's, otherwise two columns.
///
/// Columns are parted by a tab, in lines without one by the last comma. Relative paths are below the list's folder
/// (the manifest's root) and may not lead out of it; absolute ones are taken as they are. Empty lines mean nothing.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Listed, Error> {
    let bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if bytes > limit_bytes {
        return Err(Error::MemoryLimit { path: path.to_owned(), limit_bytes });
    }
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end())).peekable();
    let refuse = |line, problem: &str| {
        Error::from(AudioError::Line { path: path.to_owned(), line, problem: problem.into() })
    };
    let manifest_root = match lines.peek() {
        Some((_, first)) if is_tsv && !first.contains('\t') && !first.is_empty() => Some(folder.join(first)),
        _ => None,
    };
    if manifest_root.is_some() {
        lines.next();
    }
    let root = manifest_root.as_deref().unwrap_or(folder);
    let mut listed =
        Listed { listing: Listing::default(), labels: Vec::new(), has_labels: manifest_root.is_none() };
    let mut seen = BTreeSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let (name, value) = line
            .split_once('\t')
            .or_else(|| line.rsplit_once(','))
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| refuse(number, "it needs two columns, parted by a tab or a comma"))?;
        if listed.has_labels && number == 1 && HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            continue;
        }
        if !listed.has_labels && value.parse::<u64>().is_err() {
            return Err(refuse(number, "the second column of a manifest is a number of samples"));
        }
        let relative = Path::new(name);
        if relative.is_relative() && relative.components().any(|part| part == Component::ParentDir) {
            return Err(refuse(
                number,
                "the path leads out of the folder; write it in full if that is meant",
            ));
        }
        add(&mut listed, root.join(relative), normal_form(relative), value, &mut seen);
    }
    Ok(listed)
}

fn add(listed: &mut Listed, place: PathBuf, name: String, value: &str, seen: &mut BTreeSet<String>) {
    let ignored: &mut Ignored = &mut listed.listing.ignored;
    if !seen.insert(name.clone()) {
        return ignored.add(name, "it is listed twice; the first line counts");
    }
    listed.listing.found.push(Found { path: name, shard: String::new(), place: Place::File(place) });
    listed.labels.push(listed.has_labels.then(|| value.to_owned()));
}

/// With `/` between the parts and without `.` parts, so that an id does not depend on how a path is written.
fn normal_form(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    let root = if path.is_absolute() { "/" } else { "" };
    format!("{root}{}", parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, text: &str) -> Result<Vec<String>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let Listed { listing, labels, .. } = read(&path, 1 << 20)?;
        let lines = listing.found.iter().zip(labels).map(|(found, label)| {
            let Place::File(place) = &found.place else { panic!("not a file") };
            let place = place.strip_prefix(folder.path()).unwrap_or(place).display();
            format!("{} {place} {}", found.path, label.unwrap_or("-".into()))
        });
        Ok(lines.collect())
    }

    #[test]
    fn two_columns_are_read() {
        assert_eq!(
            listed("l.csv", "path,label\na.wav,yes\n./b/c,d.wav,no\n\n").unwrap(),
            ["a.wav a.wav yes", "b/c,d.wav b/c,d.wav no"]
        );
        assert_eq!(
            listed("l.txt", "/x/a.wav\tvery good\na.wav,b\na.wav,c").unwrap(),
            ["/x/a.wav /x/a.wav very good", "a.wav a.wav b"]
        );
        assert_eq!(listed("l.tsv", "a.wav\tb\n").unwrap(), ["a.wav a.wav b"]);
    }

    #[test]
    fn manifests_are_read() {
        assert_eq!(
            listed("train.tsv", "clips\na.wav\t16000\nb.flac\t7\n").unwrap(),
            ["a.wav clips/a.wav -", "b.flac clips/b.flac -"]
        );
        assert_eq!(listed("train.tsv", "/data\na.wav\t16000").unwrap(), ["a.wav /data/a.wav -"]);
    }

    #[test]
    fn lines_that_cannot_be_meant_are_refused_by_number() {
        let refused = |name, text: &str, line: usize| match listed(name, text) {
            Err(Error::Audio(AudioError::Line { line: got, .. })) => assert_eq!(got, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        refused("l.csv", "a.wav,b\nc.wav\n", 2);
        refused("l.csv", "a.wav,\n", 1);
        refused("l.csv", "../a.wav,b\n", 1);
        refused("train.tsv", "/data\na.wav\tmany\n", 2);
        refused("train.tsv", "/data\nx/../../a.wav\t1\n", 2);
    }
}

//! Lists of sound files: columns of path, label and group, and fairseq's manifests.

use super::error::AudioError;
use super::has_sound_name;
use super::labels::NameParts;
use crate::dataset::Ignored;
use crate::error::Error;
use crate::source::listing::{Found, Listing, Place};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The first cells of a header line.
const HEADERS: [&str; 4] = ["path", "file", "filename", "file_name"];

/// Files named by a list, and the label and group of each, in the same order; all `None` for a manifest.
pub(super) struct Listed {
    pub(super) listing: Listing,
    pub(super) names: Vec<NameParts>,
    /// Whether the list has a column of labels.
    pub(super) has_labels: bool,
}

pub(super) fn has_list_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("tsv" | "csv" | "txt"))
}

/// Reads a list: a manifest if its first line is one cell that names a folder and a .tsv's, otherwise columns of path,
/// label and, in every line or in none, group.
///
/// Columns are parted by tabs, in lines without one by commas: there the path ends at the first comma behind the name
/// of a sound file, else at the last comma of all. Relative paths are below the list's folder (the manifest's root) and
/// may not lead out of it; absolute ones are taken as they are. Empty lines mean nothing.
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
        Listed { listing: Listing::default(), names: Vec::new(), has_labels: manifest_root.is_none() };
    let mut seen = BTreeSet::new();
    let mut first: Option<(usize, bool)> = None;
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let head = line.split(['\t', ',']).next().unwrap_or_default().trim();
        if listed.has_labels && number == 1 && HEADERS.contains(&head.to_ascii_lowercase().as_str()) {
            continue;
        }
        let Some((name, value, group)) = columns(line) else {
            return Err(refuse(
                number,
                "it needs two columns, path and label, and may have a third, the group",
            ));
        };
        let (first_line, has_group) = *first.get_or_insert((number, group.is_some()));
        if group.is_some() != has_group {
            let (here, there) = if has_group { ("no", "one") } else { ("a", "none") };
            let problem = format!(
                "it has {here} third column, the group, and line {first_line} has {there}; give every line a group, or none"
            );
            return Err(refuse(number, &problem));
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
        let has_labels = listed.has_labels;
        let label = has_labels.then(|| value.to_owned());
        let group = group.filter(|_| has_labels).map(str::to_owned);
        let says = NameParts { label, group, is_test: None };
        add(&mut listed, root.join(relative), normal_form(relative), says, &mut seen);
    }
    Ok(listed)
}

/// Path, label and group of a line; `None` if a column is missing, empty, or one too many.
fn columns(line: &str) -> Option<(&str, &str, Option<&str>)> {
    let (separator, path_end) = match line.find('\t') {
        Some(tab) => ('\t', tab),
        None => {
            let commas = || line.match_indices(',').map(|(at, _)| at);
            let behind_sound = commas().find(|&at| has_sound_name(line[..at].trim()));
            (',', behind_sound.or_else(|| commas().next_back())?)
        }
    };
    let (path, rest) = (line[..path_end].trim(), &line[path_end + 1..]);
    let (label, group) = match rest.split_once(separator) {
        Some((_, group)) if group.contains(separator) => return None,
        Some((label, group)) => (label.trim(), Some(group.trim())),
        None => (rest.trim(), None),
    };
    let is_full = !path.is_empty() && !label.is_empty() && group != Some("");
    is_full.then_some((path, label, group))
}

fn add(listed: &mut Listed, place: PathBuf, name: String, says: NameParts, seen: &mut BTreeSet<String>) {
    let ignored: &mut Ignored = &mut listed.listing.ignored;
    if !seen.insert(name.clone()) {
        return ignored.add(name, "it is listed twice; the first line counts");
    }
    listed.listing.found.push(Found { path: name, shard: String::new(), place: Place::File(place) });
    listed.names.push(says);
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
        let Listed { listing, names, .. } = read(&path, 1 << 20)?;
        let lines = listing.found.iter().zip(names).map(|(found, NameParts { label, group, .. })| {
            let Place::File(place) = &found.place else { panic!("not a file") };
            let place = place.strip_prefix(folder.path()).unwrap_or(place).display();
            let group = group.map_or_else(String::new, |group| format!(" of {group}"));
            format!("{} {place} {}{group}", found.path, label.unwrap_or("-".into()))
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
        // Without an extension that tells where the path ends, it ends at the last comma.
        assert_eq!(listed("l.csv", "a,b,c\n").unwrap(), ["a,b a,b c"]);
    }

    #[test]
    fn a_third_column_is_the_group() {
        let expected = ["a.wav a.wav yes of ann", "b/c,d.FLAC b/c,d.FLAC no of bob"];
        for header in ["", "path,label,group\n", "File,word,speaker\n"] {
            let text = format!("{header}a.wav,yes,ann\nb/c,d.FLAC, no ,bob\n");
            assert_eq!(listed("l.csv", &text).unwrap(), expected);
        }
        let tabs = "path\tlabel\tgroup\na.wav\tyes\tann\nb/c,d.FLAC\tno\tbob";
        assert_eq!(listed("l.tsv", tabs).unwrap(), expected);
        assert_eq!(listed("l.txt", "a.wav\tyes, sir\tann b").unwrap(), ["a.wav a.wav yes, sir of ann b"]);
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
        refused("l.csv", "a.wav,yes,\n", 1);
        refused("l.csv", "a.wav,yes,ann,bob\n", 1);
        refused("l.tsv", "a.wav\tyes\tann\tbob\n", 1);
        refused("l.csv", "a.wav,yes,ann\nb.wav,no\n", 2);
        refused("l.csv", "a.wav,yes\nb.wav,no,ann\n", 2);
        refused("l.csv", "../a.wav,b\n", 1);
        refused("train.tsv", "/data\na.wav\tmany\n", 2);
        refused("train.tsv", "/data\nx/../../a.wav\t1\n", 2);
    }
}

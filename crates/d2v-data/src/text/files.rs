//! Which files of text there are, of which kind, and to which part of the data each belongs.

use super::cache::is_former_cache;
use super::error::TextError;
use crate::dataset::{Ignored, Split};
use crate::error::Error;
use crate::source::Part;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file found.
#[derive(Debug, Clone)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    /// Below the folder given, with `/` between the parts: what ids and messages name it by.
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) compression: Compression,
    part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines of text.
    Txt,
    /// A JSON object a line.
    Jsonl,
    /// Columns between tabs, nothing quoted.
    Tsv,
    /// Columns between commas, quoted where needed.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Which formats are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    formats: &'static [(&'static str, Format)],
    /// The endings, for messages.
    expected: &'static str,
}

impl Kinds {
    pub(super) const TEXT: Self = Self {
        formats: &[
            ("txt", Format::Txt),
            ("text", Format::Txt),
            ("tokens", Format::Txt),
            ("jsonl", Format::Jsonl),
            ("ndjson", Format::Jsonl),
        ],
        expected: ".txt, .text, .tokens, .jsonl, .ndjson",
    };
    pub(super) const TABLES: Self = Self {
        formats: &[
            ("tsv", Format::Tsv),
            ("csv", Format::Csv),
            ("jsonl", Format::Jsonl),
            ("ndjson", Format::Jsonl),
        ],
        expected: ".tsv, .csv, .jsonl, .ndjson",
    };

    fn of_name(self, name: &str) -> Option<(Format, Compression)> {
        let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        if name.starts_with("._") {
            return None;
        }
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let (_, extension) = stem.rsplit_once('.')?;
        let &(_, format) = self.formats.iter().find(|(known, _)| *known == extension)?;
        Some((format, compression))
    }
}

/// All files of a path, sorted by name.
pub(super) struct Found {
    root: String,
    files: Vec<TextFile>,
    pub(super) ignored: Ignored,
}

/// Finds the files of the given kinds at a path: one file, all in a folder, all that a pattern matches.
pub(super) fn find(path: &Path, kinds: Kinds) -> Result<Found, Error> {
    let root = path.display().to_string();
    let mut found = Found { root: root.clone(), files: Vec::new(), ignored: Ignored::default() };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => found.add_folder(path, kinds)?,
        Ok(_) => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            if !found.add(path.to_owned(), name, kinds) {
                return Err(TextError::UnknownKind { path: path.into(), expected: kinds.expected }.into());
            }
        }
        Err(source) => match path.to_str() {
            Some(pattern) if pattern.contains(['*', '?', '[']) => found.add_matches(pattern, kinds)?,
            _ => return Err(Error::Io { path: path.into(), source }),
        },
    }
    if found.files.is_empty() {
        return Err(TextError::NoFiles { path: root, expected: kinds.expected }.into());
    }
    found.files.sort_by(|a, b| a.name.cmp(&b.name));
    found.leave_out_files_without_part();
    Ok(found)
}

impl Found {
    fn add(&mut self, path: PathBuf, name: String, kinds: Kinds) -> bool {
        let Some((format, compression)) = kinds.of_name(&name) else { return false };
        if !path.is_file() {
            self.ignored.add(name, "not a regular file");
        } else if is_former_cache(&path) {
            self.ignored.add(name, "a token cache");
        } else {
            let part = part_of_name(&name);
            self.files.push(TextFile { path, name, format, compression, part });
        }
        true
    }

    fn add_folder(&mut self, root: &Path, kinds: Kinds) -> Result<(), Error> {
        for entry in WalkDir::new(root).follow_links(false) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                Error::Io { path, source: error.into() }
            })?;
            let name = name_below(entry.path(), root);
            if entry.file_type().is_symlink() && entry.depth() > 0 {
                self.ignored.add(name, "a link; links are not followed");
            } else if !entry.file_type().is_dir() {
                self.add(entry.into_path(), name, kinds);
            }
        }
        Ok(())
    }

    fn add_matches(&mut self, pattern: &str, kinds: Kinds) -> Result<(), Error> {
        let matches =
            glob::glob(pattern).map_err(|source| Error::Pattern { pattern: pattern.into(), source })?;
        let fixed: PathBuf = Path::new(pattern)
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
            .collect();
        let mut any = false;
        for path in matches {
            let path =
                path.map_err(|error| Error::Io { path: error.path().to_owned(), source: error.into() })?;
            any = true;
            let name = name_below(&path, &fixed);
            if !self.add(path, name.clone(), kinds) {
                self.ignored.add(name, format!("none of {}", kinds.expected));
            }
        }
        if any { Ok(()) } else { Err(Error::NothingMatches { pattern: pattern.into() }) }
    }

    /// Files that name no part are the train part, unless others name it: then they are something else (a README).
    fn leave_out_files_without_part(&mut self) {
        if self.files.iter().any(|file| file.part == Some(Part::Train)) {
            let (files, others) =
                std::mem::take(&mut self.files).into_iter().partition(|file| file.part.is_some());
            self.files = files;
            for file in others {
                self.ignored.add(file.name, "its name tells no part (train, valid, test), others do");
            }
        }
    }

    /// The files of a part: [`Split::Test`] is the test part, else the validation part.
    pub(super) fn select(&self, split: Split) -> Result<Vec<TextFile>, Error> {
        let has = |part: Option<Part>| self.files.iter().any(|file| file.part == part);
        let wanted: &[Option<Part>] = match split {
            Split::All => return Ok(self.files.clone()),
            Split::Train => &[None, Some(Part::Train)],
            Split::Test if has(Some(Part::Test)) => &[Some(Part::Test)],
            Split::Test => &[Some(Part::Validation)],
        };
        let selected: Vec<TextFile> =
            self.files.iter().filter(|file| wanted.contains(&file.part)).cloned().collect();
        if selected.is_empty() {
            let found = if self.files.iter().all(|file| file.part.is_none()) {
                "no file or folder is named train, valid, dev or test; hold some of it out".into()
            } else {
                let names = self.files.iter().take(3).map(|file| file.name.as_str());
                format!("it has {}", names.collect::<Vec<_>>().join(", "))
            };
            return Err(Error::NoSuchSplit { path: self.root.clone(), split, found });
        }
        Ok(selected)
    }
}

/// The part that a name tells: by a piece of the file name (`wiki.train.tokens`, `dev.tsv`, `train-00001.jsonl.gz`),
/// else by the nearest folder.
fn part_of_name(name: &str) -> Option<Part> {
    let mut levels = name.rsplit('/');
    let file = levels.next()?;
    let part = |name: &str| {
        if name.eq_ignore_ascii_case("dev") { Some(Part::Validation) } else { Part::of_name(name) }
    };
    file.split(['.', '-', '_']).find_map(part).or_else(|| levels.find_map(part))
}

fn name_below(path: &Path, root: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_format_and_part() {
        let check = |name: &str, expected: Option<(Format, Compression, Option<Part>)>| {
            let got = Kinds::TEXT.of_name(name).map(|(format, packed)| (format, packed, part_of_name(name)));
            assert_eq!(got, expected, "{name}");
        };
        check("wiki.train.tokens", Some((Format::Txt, Compression::None, Some(Part::Train))));
        check("a/Valid/x.jsonl.gz", Some((Format::Jsonl, Compression::Gzip, Some(Part::Validation))));
        check("test/train-0001.TXT.zst", Some((Format::Txt, Compression::Zstd, Some(Part::Train))));
        check("training/contest.txt", Some((Format::Txt, Compression::None, Some(Part::Train))));
        check("contest.txt", Some((Format::Txt, Compression::None, None)));
        for name in ["a.tsv", "txt", "a.gz", "._a.txt", "a.txt/b", "a.json"] {
            check(name, None);
        }
        assert_eq!(Kinds::TABLES.of_name("dev.tsv"), Some((Format::Tsv, Compression::None)));
        assert_eq!(part_of_name("dev.tsv"), Some(Part::Validation));
    }

    /// The names selected for train and test, and those ignored.
    fn check(names: &[&str], train: &[&str], test: &[&str], ignored: u64) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        let found = find(folder.path(), Kinds::TEXT).unwrap();
        let of = |split| {
            let files = found.select(split).unwrap_or_default();
            files.into_iter().map(|file| file.name).collect::<Vec<_>>()
        };
        assert_eq!((of(Split::Train), of(Split::Test)), (owned(train), owned(test)), "{names:?}");
        assert_eq!(found.ignored.total(), ignored, "{names:?}");
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn parts_are_selected_and_unnamed_files_do_not_leak() {
        check(&["b.txt", "a.txt", "c.pdf"], &["a.txt", "b.txt"], &[], 0);
        check(&["x.train.txt", "x.valid.txt", "README.txt"], &["x.train.txt"], &["x.valid.txt"], 1);
        check(&["a.txt", "test/b.txt", "dev/c.txt"], &["a.txt"], &["test/b.txt"], 0);
    }

    #[cfg(unix)]
    #[test]
    fn patterns_and_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        std::fs::write(folder.path().join("b.md"), "b").unwrap();
        std::os::unix::fs::symlink("a.txt", folder.path().join("c.txt")).unwrap();
        let found = find(folder.path(), Kinds::TEXT).unwrap();
        assert_eq!((found.files.len(), found.ignored.total()), (1, 1));
        let found = find(&folder.path().join("[ab].*"), Kinds::TEXT).unwrap();
        assert_eq!((found.files[0].name.as_str(), found.ignored.total()), ("a.txt", 1));
        let nothing = find(&folder.path().join("*.jsonl"), Kinds::TEXT);
        assert!(matches!(nothing, Err(Error::NothingMatches { .. })));
        let unknown = find(&folder.path().join("b.md"), Kinds::TEXT);
        assert!(matches!(unknown, Err(Error::Text(TextError::UnknownKind { .. }))));
    }
}

//! Text with labels as a data set: one sample a row of a table, for probes.

use super::error::TextError;
use super::files::{Found, Kinds, TextFile, find};
use super::options::{InvalidUtf8, MAX_LINE_BYTES, check_max_line_bytes, check_max_tokens};
use super::table::for_each_row;
use super::tokenizer::Tokenizer;
use crate::dataset::{Dataset, Ignored, RawSample, Split, stable_id};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// How rows of tables become samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelledTextOptions {
    /// The column or field of the text; without it `sentence`, else `text`.
    pub text_column: Option<String>,
    /// The column or field of the label. Default `label`.
    pub label_column: String,
    /// The most tokens of a sample, `<s>` and `</s>` included; longer texts are cut. 3 to 1,048,576, default 512.
    pub max_tokens: usize,
    /// What to do about bytes that are not UTF-8. Default: an error that names file and byte.
    pub invalid_utf8: InvalidUtf8,
    /// The longest row in bytes, 1 to 2^32. Default 64 MiB.
    pub max_line_bytes: u64,
}

impl Default for LabelledTextOptions {
    fn default() -> Self {
        Self {
            text_column: None,
            label_column: "label".into(),
            max_tokens: 512,
            invalid_utf8: InvalidUtf8::Error,
            max_line_bytes: MAX_LINE_BYTES,
        }
    }
}

impl LabelledTextOptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        check_max_tokens(self.max_tokens)?;
        check_max_line_bytes(self.max_line_bytes)
    }

    /// The names that the column of the text may have, best first.
    pub(super) fn text_names(&self) -> Vec<&str> {
        self.text_column.as_deref().map_or_else(|| vec!["sentence", "text"], |name| vec![name])
    }
}

/// Rows of tables with their classes; see [`open_labelled_text`]. Tokens are held in memory.
pub struct LabelledText {
    tokens: Vec<u32>,
    rows: Vec<Row>,
    files: Vec<String>,
    classes: Vec<String>,
    tokenizer: Arc<Tokenizer>,
    ignored: Ignored,
}

struct Row {
    /// Where its tokens end.
    end: usize,
    label: u32,
    file: usize,
    /// The line it begins in.
    line: u64,
}

impl LabelledText {
    /// The most tokens in all, 1 GiB of them.
    pub const MAX_TOKENS: usize = 1 << 28;

    /// The tokenizer given.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.rows[index - 1].end }
    }
}

/// Opens text with labels: a .tsv (columns between tabs, nothing quoted), .csv (quoted where needed) or .jsonl file with
/// a header or field names, also as .gz or .zst; a folder or pattern of such. Parts are told by names as in
/// [`open_text`](crate::open_text): of SST-2's `train.tsv` and `dev.tsv`, the latter is the test part.
///
/// A sample is `<s>`, the tokens of the text, `</s>`. Classes are the labels of the train part, sorted by their bytes, the
/// same for every part; of all rows, if there is no train part.
///
/// # Errors
/// As for [`open_text`](crate::open_text); also if a column is missing, or a row of another part has a label that the
/// train part lacks.
pub fn open_labelled_text(
    path: &Path,
    split: Split,
    options: &LabelledTextOptions,
    tokenizer: Arc<Tokenizer>,
) -> Result<LabelledText, Error> {
    options.validate()?;
    let found = find(path, Kinds::TABLES)?;
    let files = found.select(split)?;
    let classes = classes(&found, &files, options)?;
    let root = path.display().to_string();
    let specials = tokenizer.specials();
    let mut set = LabelledText {
        tokens: Vec::new(),
        rows: Vec::new(),
        files: files.iter().map(|file| file.name.clone()).collect(),
        classes,
        tokenizer,
        ignored: found.ignored,
    };
    for (number, file) in files.iter().enumerate() {
        let rows_before = set.rows.len();
        for_each_row(file, options, &mut |row| {
            let label = row.label.trim();
            let class = set.classes.binary_search_by(|class| class.as_str().cmp(label)).ok();
            let Some(class) = class.and_then(|class| u32::try_from(class).ok()) else {
                let (file, label) = (file.path.display().to_string(), label.into());
                return Err(TextError::UnknownLabel { file, line: row.line, label }.into());
            };
            let text = set.tokenizer.encode(row.text.trim())?;
            set.tokens.push(specials.bos);
            set.tokens.extend(text.into_iter().take(options.max_tokens - 2));
            set.tokens.push(specials.eos);
            if set.tokens.len() > LabelledText::MAX_TOKENS {
                let limit = LabelledText::MAX_TOKENS;
                return Err(TextError::TooManyTokens { path: root.clone(), limit }.into());
            }
            set.rows.push(Row { end: set.tokens.len(), label: class, file: number, line: row.line });
            Ok(())
        })?;
        if set.rows.len() == rows_before {
            set.ignored.add(&file.name, "holds no row");
        }
    }
    if set.rows.is_empty() { Err(TextError::Empty { path: root }.into()) } else { Ok(set) }
}

fn classes(
    found: &Found,
    selected: &[TextFile],
    options: &LabelledTextOptions,
) -> Result<Vec<String>, Error> {
    let train = found.select(Split::Train);
    let mut classes = BTreeSet::new();
    for file in train.as_deref().unwrap_or(selected) {
        for_each_row(file, options, &mut |row| {
            let label = row.label.trim();
            if !classes.contains(label) {
                classes.insert(label.to_owned());
            }
            Ok(())
        })?;
    }
    Ok(classes.into_iter().collect())
}

impl Dataset for LabelledText {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> u64 {
        let row = &self.rows[index];
        stable_id(&format!("{}#{}", self.files[row.file], row.line))
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.rows[index].label)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        let row = &self.rows[index];
        format!("{}, line {}", self.files[row.file], row.line)
    }

    fn length(&self, index: usize) -> usize {
        self.rows[index].end - self.start(index)
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        Ok(RawSample::Text(self.tokens[self.start(index)..self.rows[index].end].to_vec()))
    }

    fn ignored(&self) -> &Ignored {
        &self.ignored
    }
}

//! Rows of tables: a text and a label from .tsv, .csv and .jsonl files, one row in memory at a time.

use super::error::TextError;
use super::files::{Format, TextFile};
use super::json_fields::read_fields;
use super::labelled::LabelledTextOptions;
use super::lines::{Line, Lines, decode, open};
use crate::error::Error;
use std::io::{self, BufRead, Read};

/// A row of a table.
pub(super) struct Row<'a> {
    pub(super) text: &'a str,
    pub(super) label: &'a str,
    /// The line it begins in, from 1.
    pub(super) line: u64,
}

/// What is made of each row.
pub(super) type Each<'a> = &'a mut dyn FnMut(Row<'_>) -> Result<(), Error>;

/// Calls `each` with every row of a file in order.
pub(super) fn for_each_row(
    file: &TextFile,
    options: &LabelledTextOptions,
    each: Each<'_>,
) -> Result<(), Error> {
    match file.format {
        Format::Csv => csv_rows(file, options, each),
        Format::Jsonl => json_rows(file, options, each),
        Format::Tsv | Format::Txt => tsv_rows(file, options, each),
    }
}

/// The places of the two columns in a header.
struct Columns {
    text: usize,
    label: usize,
}

impl Columns {
    fn find<'a>(
        header: impl Iterator<Item = &'a str>,
        options: &LabelledTextOptions,
        file: &str,
    ) -> Result<Self, Error> {
        let header: Vec<&str> = header.map(str::trim).collect();
        let place = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| header.iter().position(|column| column == name))
                .ok_or_else(|| missing(names, &header, file, 1))
        };
        Ok(Self { text: place(&options.text_names())?, label: place(&[&options.label_column])? })
    }
}

fn missing(names: &[&str], found: &[&str], file: &str, line: u64) -> Error {
    let missing = format!("column '{}'", names.join("' or '"));
    let found = found.iter().take(16).copied().collect::<Vec<_>>().join(", ");
    TextError::NoSuchField { file: file.into(), line, missing, found }.into()
}

fn tsv_rows(file: &TextFile, options: &LabelledTextOptions, each: Each<'_>) -> Result<(), Error> {
    let mut lines = Lines::open(file, options.max_line_bytes, options.invalid_utf8)?;
    let mut columns = None;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            continue;
        }
        let Some(Columns { text, label }) = columns else {
            columns = Some(Columns::find(line.text.split('\t'), options, line.file)?);
            continue;
        };
        let cell = |place: usize| {
            line.text.split('\t').nth(place).ok_or_else(|| {
                line.error(format!(
                    "there are {} columns, not {} as needed",
                    line.text.split('\t').count(),
                    place + 1
                ))
            })
        };
        each(Row { text: cell(text)?, label: cell(label)?, line: line.number })?;
    }
    Ok(())
}

fn json_rows(file: &TextFile, options: &LabelledTextOptions, each: Each<'_>) -> Result<(), Error> {
    let mut lines = Lines::open(file, options.max_line_bytes, options.invalid_utf8)?;
    let text_names = options.text_names();
    let names: Vec<&str> = text_names.iter().copied().chain([options.label_column.as_str()]).collect();
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            continue;
        }
        let mut fields = read_fields(&line.text, &names).map_err(|problem| line.error(problem))?;
        let found = std::mem::take(&mut fields.names);
        let mut cell = |places: std::ops::Range<usize>, line: &Line<'_>| {
            for place in places.clone() {
                let value = fields
                    .take(place)
                    .map_err(|problem| line.error(format!("'{}': {problem}", names[place])))?;
                if let Some(value) = value {
                    return Ok(value);
                }
            }
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            Err(missing(&names[places], &found, line.file, line.number))
        };
        let text = cell(0..text_names.len(), &line)?;
        let label = cell(text_names.len()..names.len(), &line)?;
        each(Row { text: &text, label: &label, line: line.number })?;
    }
    Ok(())
}

fn csv_rows(file: &TextFile, options: &LabelledTextOptions, each: Each<'_>) -> Result<(), Error> {
    let name = file.path.display().to_string();
    let limit = options.max_line_bytes;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Bounded { inner: open(file)?, left: 0 });
    let mut record = csv::ByteRecord::new();
    let mut columns = None;
    loop {
        // The reader takes in some more than a row.
        reader.get_mut().left = limit + READ_AHEAD;
        let line = reader.position().line();
        let start = reader.position().byte();
        let more = reader.read_byte_record(&mut record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                TextError::LineTooLong { file: name.clone(), line, limit }.into()
            }
            csv::ErrorKind::Io(source) => Error::Io { path: file.path.clone(), source },
            other => TextError::Line { file: name.clone(), line, problem: format!("{other:?}") }.into(),
        })?;
        if !more {
            return Ok(());
        }
        let text_of = |cell: &[u8]| {
            decode(cell, options.invalid_utf8, &name, line, start).map(std::borrow::Cow::into_owned)
        };
        let Some(Columns { text, label }) = columns else {
            let header = record.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
            let header = header.iter().map(|name| name.trim_start_matches('\u{feff}'));
            columns = Some(Columns::find(header, options, &name)?);
            continue;
        };
        let cell = |place: usize| {
            let cell = record.get(place).ok_or_else(|| TextError::Line {
                file: name.clone(),
                line,
                problem: format!("there are {} columns, not {} as needed", record.len(), place + 1),
            })?;
            text_of(cell)
        };
        let (text, label) = (cell(text)?, cell(label)?);
        each(Row { text: &text, label: &label, line })?;
    }
}

/// How much the csv crate reads at a time.
const READ_AHEAD: u64 = 8 << 10;

/// A reader that refuses to give more than was allowed: an open quote must not take in a whole file.
struct Bounded {
    inner: Box<dyn BufRead + Send>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

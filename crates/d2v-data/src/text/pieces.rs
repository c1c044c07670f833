//! What blocks are packed from: pieces of text (a line each), and where documents end.

use super::error::TextError;
use super::files::{Format, TextFile};
use super::json_fields::read_fields;
use super::lines::{Line, Lines};
use super::options::{Documents, TextOptions};
use crate::error::Error;
use std::ops::ControlFlow;

/// What is made of each piece, `None` where a document ends; it may stop the reading.
pub(super) type Each<'a> = &'a mut dyn FnMut(Option<&str>) -> Result<ControlFlow<()>, Error>;

/// Calls `each` with every piece of a file in order.
///
/// A piece is a line of a .txt file or a line inside the text of a .jsonl object, without the white space around it;
/// there are no empty ones.
pub(super) fn for_each_piece(file: &TextFile, options: &TextOptions, each: Each<'_>) -> Result<(), Error> {
    let mut lines = Lines::open(file, options.max_line_bytes, options.invalid_utf8)?;
    while let Some(line) = lines.next()? {
        let is_blank = line.text.trim().is_empty();
        let flow = match file.format {
            Format::Jsonl if is_blank => continue,
            Format::Jsonl => pieces_of(&text_of(&line, &options.field)?, each)?,
            _ if is_blank && options.documents == Documents::BlankLine => each(None)?,
            _ if is_blank => continue,
            _ if options.documents == Documents::Line => pieces_of(&line.text, each)?,
            _ => each(Some(line.text.trim()))?,
        };
        if flow.is_break() {
            return Ok(());
        }
    }
    each(None).map(|_| ())
}

/// The pieces of a text that is one document.
fn pieces_of(text: &str, each: Each<'_>) -> Result<ControlFlow<()>, Error> {
    for piece in text.lines().map(str::trim).filter(|piece| !piece.is_empty()) {
        if each(Some(piece))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    each(None)
}

fn text_of(line: &Line<'_>, field: &str) -> Result<String, Error> {
    let mut fields = read_fields(&line.text, &[field]).map_err(|problem| line.error(problem))?;
    let text = fields.take(0).map_err(|problem| line.error(format!("'{field}': {problem}")))?;
    text.ok_or_else(|| {
        let missing = format!("field '{field}' (the setting `field`)");
        let found = fields.names.join(", ");
        TextError::NoSuchField { file: line.file.into(), line: line.number, missing, found }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::{Kinds, find};
    use super::*;

    /// The pieces of a file, `|` where a document ends.
    fn check(name: &str, text: &str, documents: Documents, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = find(&path, Kinds::TEXT).unwrap().select(crate::Split::All).unwrap().remove(0);
        let options = TextOptions { documents, ..TextOptions::default() };
        let mut got = Vec::new();
        let outcome = for_each_piece(&file, &options, &mut |piece| {
            got.push(piece.unwrap_or("|").to_owned());
            Ok(ControlFlow::Continue(()))
        });
        match outcome {
            Ok(()) => assert_eq!(got.join(" "), expected),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn documents_end_where_the_setting_says() {
        let text = " \n = Title = \n \n one \n two \n";
        check("a.txt", text, Documents::BlankLine, "| = Title = | one two |");
        check("a.txt", text, Documents::Line, "= Title = | one | two | |");
        check("a.txt", text, Documents::File, "= Title = one two |");
    }

    #[test]
    fn an_object_is_a_document() {
        check("a.jsonl", "{\"text\": \"a\\n\\n b \"}\n\n{\"text\": \"c\"}", Documents::File, "a b | c | |");
        check(
            "a.jsonl",
            "{\"text\": \"a\"}\n{\"body\": \"b\", \"id\": 1}",
            Documents::File,
            "line 2 has no field 'text'",
        );
        check("a.jsonl", "{\"body\": \"b\", \"id\": 1}", Documents::File, "it has: body, id");
        check("a.jsonl", "{\"text\": 1", Documents::File, "line 1: EOF");
    }
}

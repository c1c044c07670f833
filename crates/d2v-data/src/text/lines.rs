//! Lines of a text file, one at a time: whatever the file's size, one line is in memory.

use super::error::TextError;
use super::files::{Compression, TextFile};
use super::options::InvalidUtf8;
use crate::error::Error;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// The (decompressed) bytes of a file. Bombs do no harm, as nobody reads it whole.
pub(super) fn open(file: &TextFile) -> Result<Box<dyn BufRead + Send>, Error> {
    let raw = BufReader::with_capacity(1 << 16, File::open(&file.path).map_err(Error::io(&file.path))?);
    Ok(match file.compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(raw))),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(Error::io(&file.path))?;
            Box::new(BufReader::new(decoder))
        }
    })
}

/// A line without its end.
pub(super) struct Line<'a> {
    pub(super) text: Cow<'a, str>,
    /// From 1.
    pub(super) number: u64,
    /// What messages call its file.
    pub(super) file: &'a str,
}

impl Line<'_> {
    /// An error about this line.
    pub(super) fn error(&self, problem: String) -> Error {
        TextError::Line { file: self.file.into(), line: self.number, problem }.into()
    }
}

/// Reads lines, counts them, and refuses long ones.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    name: String,
    buffer: Vec<u8>,
    /// Lines read so far.
    line: u64,
    /// Where the next line begins.
    next: u64,
    max_line_bytes: u64,
    invalid_utf8: InvalidUtf8,
}

impl Lines {
    pub(super) fn open(
        file: &TextFile,
        max_line_bytes: u64,
        invalid_utf8: InvalidUtf8,
    ) -> Result<Self, Error> {
        Ok(Self {
            reader: open(file)?,
            path: file.path.clone(),
            name: file.path.display().to_string(),
            buffer: Vec::new(),
            line: 0,
            next: 0,
            max_line_bytes,
            invalid_utf8,
        })
    }

    /// The next line; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Error> {
        self.buffer.clear();
        // Two bytes more than allowed: the line's end, and one to know that it is too long.
        let mut limited = self.reader.by_ref().take(self.max_line_bytes + 2);
        let read = limited.read_until(b'\n', &mut self.buffer).map_err(Error::io(&self.path))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut start = self.next;
        self.next += read as u64;
        let mut bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.len() as u64 > self.max_line_bytes {
            let limit = self.max_line_bytes;
            return Err(TextError::LineTooLong { file: self.name.clone(), line: self.line, limit }.into());
        }
        if self.line == 1
            && let Some(text) = bytes.strip_prefix(b"\xef\xbb\xbf")
        {
            // A byte order mark is no text.
            bytes = text;
            start = 3;
        }
        let text = decode(bytes, self.invalid_utf8, &self.name, self.line, start)?;
        Ok(Some(Line { text, number: self.line, file: &self.name }))
    }
}

/// Bytes that begin at byte `start` of a file as text.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    invalid_utf8: InvalidUtf8,
    file: &str,
    line: u64,
    start: u64,
) -> Result<Cow<'a, str>, Error> {
    match invalid_utf8 {
        InvalidUtf8::Replace => Ok(String::from_utf8_lossy(bytes)),
        InvalidUtf8::Error => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => {
                let byte = start + error.valid_up_to() as u64;
                Err(TextError::InvalidUtf8 { file: file.into(), line, byte }.into())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Kinds, find};
    use super::*;
    use std::io::Write;

    /// The lines of a file, or the message of the first error without the folder.
    fn check(
        name: &str,
        bytes: &[u8],
        max_line_bytes: u64,
        mode: InvalidUtf8,
        expected: Result<&[&str], &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let file = find(&path, Kinds::TEXT).unwrap().select(crate::Split::All).unwrap().remove(0);
        let mut lines = Lines::open(&file, max_line_bytes, mode).unwrap();
        let mut got = Vec::new();
        let outcome = loop {
            match lines.next() {
                Ok(Some(line)) => got.push(line.text.into_owned()),
                Ok(None) => break Ok(got),
                Err(error) => {
                    break Err(error.to_string().replace(&format!("{}/", folder.path().display()), ""));
                }
            }
        };
        let expected: Result<Vec<String>, &str> =
            expected.map(|lines| lines.iter().map(|&line| line.to_owned()).collect());
        match (outcome, expected) {
            (Err(message), Err(start)) => assert!(message.starts_with(start), "{message}"),
            (got, expected) => assert_eq!(got, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn lines_end_in_any_way_and_a_mark_is_no_text() {
        let text = b"\xef\xbb\xbfone\r\n\ntwo\nthree";
        check("a.txt", text, 8, InvalidUtf8::Error, Ok(&["one", "", "two", "three"]));
        check("a.txt", b"", 5, InvalidUtf8::Error, Ok(&[]));
    }

    #[test]
    fn long_lines_and_foreign_bytes_are_named() {
        check("a.txt", b"ok\n123456\n", 5, InvalidUtf8::Error, Err("a.txt, line 2 has more than 5 bytes"));
        let foreign = b"ok\nca\xe9\n";
        check("a.txt", foreign, 9, InvalidUtf8::Error, Err("a.txt is not valid UTF-8 at byte 5 (line 2)"));
        check("a.txt", foreign, 9, InvalidUtf8::Replace, Ok(&["ok", "ca\u{fffd}"]));
    }

    #[test]
    fn compressed_files_are_read_through_and_bombs_stop_at_the_line_limit() {
        let gzip = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let two_members = [gzip(b"a\n"), gzip(b"b\n")].concat();
        check("a.txt.gz", &two_members, 9, InvalidUtf8::Error, Ok(&["a", "b"]));
        let frames =
            [zstd::encode_all(&b"a\n"[..], 3).unwrap(), zstd::encode_all(&b"b"[..], 3).unwrap()].concat();
        check("a.txt.zst", &frames, 9, InvalidUtf8::Error, Ok(&["a", "b"]));
        let bomb = gzip(&vec![b'a'; 50 << 20]);
        check("a.txt.gz", &bomb, 1_000, InvalidUtf8::Error, Err("a.txt.gz, line 1 has more than 1000 bytes"));
        check("a.txt.gz", &gzip(b"abc\n")[..15], 9, InvalidUtf8::Error, Err("cannot read a.txt.gz"));
        check("a.txt.zst", &frames[..8], 9, InvalidUtf8::Error, Err("cannot read a.txt.zst"));
    }
}

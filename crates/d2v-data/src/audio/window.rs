//! The bytes of one sound, wherever they lie, as the seekable stream that decoders read: nothing is read before it is
//! asked for, so that a part of a long file costs a part of its bytes.

use crate::error::Error;
use crate::source::listing::{Place, Source};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use symphonia::core::io::MediaSource;

/// A range of bytes of a file, or of memory.
pub(super) struct Window<'a> {
    bytes: Bytes<'a>,
    start: u64,
    len: u64,
    at: u64,
    seekable: bool,
}

enum Bytes<'a> {
    File(File),
    Memory(&'a [u8]),
}

impl<'a> Window<'a> {
    pub(super) fn open(place: &Place, sources: &'a [Source]) -> Result<Self, Error> {
        let open = |path| File::open(path).map_err(Error::io(path));
        let (bytes, start, len) = match place {
            Place::File(path) => {
                let file = open(path)?;
                let len = file.metadata().map_err(Error::io(path))?.len();
                (Bytes::File(file), 0, len)
            }
            Place::Range { source, offset, bytes } => match &sources[*source] {
                Source::Archive(path) => (Bytes::File(open(path)?), *offset, *bytes),
                Source::Memory { bytes: all, .. } => (Bytes::Memory(all), *offset, *bytes),
            },
        };
        Ok(Self { bytes, start, len, at: 0, seekable: true })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The same without its first bytes, read from the start.
    pub(super) fn without_first(self, bytes: u64) -> Self {
        let cut = bytes.min(self.len);
        Self { start: self.start + cut, len: self.len - cut, at: 0, ..self }
    }

    /// The same, but telling the decoder that it can only be read forwards.
    pub(super) fn forwards_only(self) -> Self {
        Self { seekable: false, ..self }
    }

    /// The first bytes, at most `N`; the rest is 0.
    pub(super) fn peek<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut head = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.read_from(filled as u64, &mut head[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(head)
    }

    /// The last bytes, at most `count`.
    pub(super) fn tail(&self, count: u64) -> io::Result<Vec<u8>> {
        let from = self.len.saturating_sub(count);
        let mut tail = vec![0; usize::try_from(self.len - from).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < tail.len() {
            match self.read_from(from + filled as u64, &mut tail[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        tail.truncate(filled);
        Ok(tail)
    }

    fn read_from(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let buffer = &mut buffer[..wanted];
        match &self.bytes {
            Bytes::File(file) => file.read_at(buffer, self.start + at),
            Bytes::Memory(all) => {
                let from = usize::try_from(self.start + at).unwrap_or(usize::MAX).min(all.len());
                (&all[from..]).read(buffer)
            }
        }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_from(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the start"))?;
        Ok(self.at)
    }
}

impl MediaSource for Window<'_> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then_some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_is_seen() {
        let sources = [Source::Memory { path: "a.tar.gz".into(), bytes: (0..100).collect() }];
        let place = Place::Range { source: 0, offset: 40, bytes: 10 };
        let mut window = Window::open(&place, &sources).unwrap().without_first(2);
        assert_eq!(window.peek::<4>().unwrap(), [42, 43, 44, 45]);
        assert_eq!(window.tail(3).unwrap(), [47, 48, 49]);
        assert_eq!(window.tail(100).unwrap().len(), 8);
        let mut all = Vec::new();
        window.read_to_end(&mut all).unwrap();
        assert_eq!(all, (42..50).collect::<Vec<u8>>());
        window.seek(SeekFrom::End(-1)).unwrap();
        let mut last = Vec::new();
        window.read_to_end(&mut last).unwrap();
        assert_eq!(last, [49]);
        assert!(window.seek(SeekFrom::Current(-100)).is_err());
        window.seek(SeekFrom::Start(1_000)).unwrap();
        assert_eq!(window.read(&mut [0; 4]).unwrap(), 0);
    }
}

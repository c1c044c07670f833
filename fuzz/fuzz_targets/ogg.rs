//! Ogg files (Vorbis, FLAC; Opus, which is refused): opened, and every part decoded.
//!
//! The checksums of pages are set right first; otherwise hardly an input would come further than the first page.
#![no_main]

use d2v_fuzz::{let_panics_be_caught, load_sounds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: let_panics_be_caught(), |content: &[u8]| {
    let mut content = content.to_vec();
    set_checksums(&mut content);
    load_sounds("a.ogg", &content);
});

/// Pages follow each other: `OggS`, 18 bytes, the checksum, the number of the page, the number of segments, their
/// lengths, the segments. Ends at the first bytes that are no whole page.
fn set_checksums(content: &mut [u8]) {
    let mut rest = content;
    while let Some(len) = page_len(rest) {
        let (page, behind) = rest.split_at_mut(len);
        page[22..26].fill(0);
        let checksum = crc32_of_ogg(page);
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        rest = behind;
    }
}

fn page_len(bytes: &[u8]) -> Option<usize> {
    let segments = usize::from(*bytes.get(26).filter(|_| bytes.starts_with(b"OggS"))?);
    let lengths = bytes.get(27..27 + segments)?;
    let len = 27 + segments + lengths.iter().map(|&len| usize::from(len)).sum::<usize>();
    (len <= bytes.len()).then_some(len)
}

/// The polynomial of Ethernet's checksum, highest bit first, from 0 and not inverted.
fn crc32_of_ogg(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

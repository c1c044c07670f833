//! Tar archives of pictures, read in place.
#![no_main]

use d2v_data::{Limits, OpenOptions, Split, open};
use d2v_fuzz::{MEMORY_LIMIT_BYTES, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let options = OpenOptions {
        memory_limit_bytes: MEMORY_LIMIT_BYTES,
        limits: Limits { max_pixels: 1_000_000, ..Limits::default() },
    };
    with_file("a.tar", content, |path| {
        let Ok(pictures) = open(path, Split::All, &options) else { return };
        for index in 0..pictures.len() {
            // A picture may be damaged although its entry is not.
            let _ = pictures.load(index);
        }
    });
});

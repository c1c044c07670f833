//! JPEG, PNG, WebP and BMP pictures, told apart by content.
#![no_main]

use d2v_data::{Limits, decode_picture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let limits = Limits { max_pixels: 1_000_000, ..Limits::default() };
    if let Ok(picture) = decode_picture("a", content, &limits) {
        assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
    }
});

//! From an encoded picture to RGB, with limits set before memory is taken.

use crate::error::Error;
use crate::picture::ImageRgb;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use std::io::Cursor;

/// The longest side of a picture, in pixels: that of the JPEG format. Working memory of resizing grows with the side.
pub(crate) const MAX_PICTURE_SIDE_PX: u32 = 65_535;

/// What one picture may cost, however large it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Width times height, from the header, before decoding. Default 100 million. No side may exceed 65,535 in any case.
    pub max_pixels: u64,
    /// Bytes of the encoded file. Default 256 MiB.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_file_bytes: 256 << 20 }
    }
}

/// A pixel of the widest kind (RGBA, 16 bits) has 8 bytes; decoders may need as much again for their own planes.
const MAX_DECODER_BYTES_PER_PIXEL: u64 = 16;
/// Tables and rows that a decoder needs whatever the size of the picture.
const DECODER_BASE_BYTES: u64 = 4 << 20;
/// What shows through transparent pixels: white. (The reference drops alpha, which shows whatever colour lies beneath.)
const BACKGROUND: u32 = 255;

/// Decodes a JPEG, PNG, WebP or BMP picture, told apart by content, not by name.
///
/// Grey, palette, 16-bit and CMYK pictures become 8-bit RGB; transparency is laid over white; of an animation the
/// first frame is taken. Orientation tags are not applied (nor does the reference). `name` is for messages.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::FileTooLarge`], [`Error::TooManyPixels`], [`Error::Truncated`] or
/// [`Error::Decode`].
pub fn decode_picture(name: &str, bytes: &[u8], limits: &Limits) -> Result<ImageRgb, Error> {
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(Error::FileTooLarge {
            name: name.into(),
            bytes: bytes.len() as u64,
            limit: limits.max_file_bytes,
        });
    }
    let undecodable = |source| Error::Decode { name: name.into(), source };
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp)) => format,
        _ => return Err(Error::UnknownFormat { name: name.into() }),
    };
    if format == ImageFormat::Jpeg && !jpeg_has_end(bytes) {
        return Err(Error::Truncated {
            name: name.into(),
            what: "no end-of-image marker after the picture data",
        });
    }
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_alloc = Some(
        limits.max_pixels.saturating_mul(MAX_DECODER_BYTES_PER_PIXEL).saturating_add(DECODER_BASE_BYTES),
    );
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(decoder_limits);
    let decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels || width.max(height) > MAX_PICTURE_SIDE_PX {
        return Err(Error::TooManyPixels { name: name.into(), width, height, limit: limits.max_pixels });
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    to_rgb(picture)
}

fn to_rgb(picture: DynamicImage) -> Result<ImageRgb, Error> {
    let (width, height) = (picture.width(), picture.height());
    if !picture.color().has_alpha() {
        return ImageRgb::new(width, height, picture.into_rgb8().into_raw());
    }
    let rgba = picture.into_rgba8().into_raw();
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        for &value in &pixel[..3] {
            let mixed = (u32::from(value) * alpha + BACKGROUND * (255 - alpha) + 127) / 255;
            #[expect(clippy::cast_possible_truncation, reason = "a weighted mean of bytes is a byte")]
            rgb.push(mixed as u8);
        }
    }
    ImageRgb::new(width, height, rgb)
}

/// Whether a JPEG has an end marker after the start of its picture data.
///
/// The decoder fills what is missing with grey; a picture that is half grey is worse than one that is skipped. Marker
/// segments are stepped over, as a thumbnail inside one has an end marker of its own; inside picture data the bytes
/// FF D9 occur only as the marker.
fn jpeg_has_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut at = 2;
    while let Some(&[0xFF, marker]) = bytes.get(at..at + 2) {
        match marker {
            // A fill byte before a marker.
            0xFF => at += 1,
            START_OF_SCAN => return bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            // Markers without a segment.
            0x01 | 0xD0..=0xD8 => at += 2,
            _ => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn check(picture: impl Into<DynamicImage>, format: ImageFormat, expected: [u8; 3]) {
        let decoded = decode_picture("test", &encoded(&picture.into(), format), &Limits::default()).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (5, 3), "{format:?}");
        assert_eq!(decoded.pixel(4, 2), expected, "{format:?}");
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb() {
        check(GrayImage::from_pixel(5, 3, Luma([77])), ImageFormat::Png, [77; 3]);
        check(GrayImage::from_pixel(5, 3, Luma([128])), ImageFormat::Jpeg, [128; 3]);
        check(GrayImage::from_pixel(5, 3, Luma([77])), ImageFormat::Bmp, [77; 3]);
        // 16 bits: 0x8000 is 128 of 255.
        check(ImageBuffer::from_pixel(5, 3, Luma([0x8000_u16])), ImageFormat::Png, [128; 3]);
        // Over white: (100 * 51 + 255 * 204) / 255 = 224.
        check(GrayAlphaImage::from_pixel(5, 3, LumaA([100, 51])), ImageFormat::Png, [224; 3]);
        check(RgbaImage::from_pixel(5, 3, Rgba([10, 20, 30, 255])), ImageFormat::WebP, [10, 20, 30]);
        check(RgbaImage::from_pixel(5, 3, Rgba([10, 20, 30, 0])), ImageFormat::WebP, [255; 3]);
    }

    #[test]
    fn cmyk_and_palette_become_rgb() {
        // Made by tests/fixtures/make_fixtures.py: uniform pictures of 16 x 16.
        let near = |bytes: &[u8], expected: [u8; 3]| {
            let picture = decode_picture("fixture", bytes, &Limits::default()).unwrap();
            for (got, expected) in picture.pixel(8, 8).into_iter().zip(expected) {
                assert!(got.abs_diff(expected) <= 3, "{got} instead of {expected}");
            }
        };
        near(include_bytes!("../tests/fixtures/cmyk.jpg"), [200, 120, 40]);
        near(include_bytes!("../tests/fixtures/palette.png"), [200, 120, 40]);
    }

    #[test]
    fn the_name_does_not_matter_but_the_content_does() {
        let png = encoded(&GrayImage::new(2, 2).into(), ImageFormat::Png);
        assert!(decode_picture("really_a_png.jpg", &png, &Limits::default()).is_ok());
        for bytes in [&b""[..], b"x", b"GIF89a..........", b"#!/bin/sh\n"] {
            let got = decode_picture("odd.jpg", bytes, &Limits::default());
            assert!(matches!(got, Err(Error::UnknownFormat { .. })), "{got:?}");
        }
    }

    #[test]
    fn a_declared_size_is_checked_before_decoding() {
        // 4 GPixel in 60 bytes: a PNG header for 65,535 x 65,535, with its right checksum, and no data.
        let huge = include_bytes!("../tests/fixtures/huge_header.png");
        let got = decode_picture("huge.png", huge, &Limits::default());
        assert!(matches!(got, Err(Error::TooManyPixels { width: 65_535, height: 65_535, .. })), "{got:?}");

        let small = encoded(&GrayImage::new(20, 20).into(), ImageFormat::Png);
        let got = decode_picture("p", &small, &Limits { max_pixels: 399, ..Limits::default() });
        assert!(matches!(got, Err(Error::TooManyPixels { .. })), "{got:?}");
        let got = decode_picture("p", &small, &Limits { max_file_bytes: 10, ..Limits::default() });
        assert!(matches!(got, Err(Error::FileTooLarge { limit: 10, .. })), "{got:?}");
    }

    #[test]
    fn a_truncated_file_is_an_error_wherever_it_ends() {
        let noise = GrayImage::from_fn(40, 40, |x, y| Luma([(x * 37 + y * y * 11) as u8]));
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
            let whole = encoded(&DynamicImage::from(noise.clone()).into_rgb8().into(), format);
            assert!(decode_picture("whole", &whole, &Limits::default()).is_ok(), "{format:?}");
            for eighths in 0..8 {
                let cut = &whole[..whole.len() * eighths / 8];
                assert!(decode_picture("cut", cut, &Limits::default()).is_err(), "{format:?}, {eighths}/8");
            }
        }
    }

    proptest! {
        /// Damaged bytes give a picture or an error, never a panic.
        #[test]
        fn damage_does_no_harm(at in 0.0..1.0_f64, value: u8, kind in 0_usize..4) {
            let format = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp][kind];
            let noise = GrayImage::from_fn(24, 24, |x, y| Luma([(x * 37 + y * y * 11) as u8]));
            let mut bytes = encoded(&DynamicImage::from(noise).into_rgb8().into(), format);
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = value;
            if let Ok(picture) = decode_picture("damaged", &bytes, &Limits { max_pixels: 1_000_000, ..Limits::default() }) {
                prop_assert!(picture.width() > 0);
            }
        }
    }
}

//! Cropping and resizing.
//!
//! The resampling is the `fast_image_resize` crate's: convolution on bytes, horizontal pass first, each rounded, with the
//! kernel widened when shrinking (antialias), as in PIL, whose bicubic kernel (a = -0.5) is the Catmull-Rom kernel.
//! Results are within 1 of 255 of PIL's. The crop is cut out first, so that no pixel outside it bleeds in.

use super::crop::CropBox;
use crate::error::Error;
use crate::picture::ImageRgb;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// The largest side that pictures are resized to, in pixels.
pub(super) const MAX_SIDE_PX: u32 = 8_192;

/// Resizes a picture, bicubic with antialias; a picture that has the size already is returned as it is.
///
/// # Errors
/// [`Error::Setting`] if a side is 0 or above 8,192.
pub fn resize(picture: &ImageRgb, width: u32, height: u32) -> Result<ImageRgb, Error> {
    for (setting, side) in [("width", width), ("height", height)] {
        super::check_setting(setting, side, |side| (1..=MAX_SIDE_PX).contains(&side), "must be 1 to 8192")?;
    }
    Ok(resized(picture, width, height))
}

/// As [`resize`], for sizes known to be valid.
pub(super) fn resized(picture: &ImageRgb, width: u32, height: u32) -> ImageRgb {
    if (picture.width(), picture.height()) == (width, height) {
        return picture.clone();
    }
    let wide = one_pass(picture, width, picture.height());
    one_pass(&wide, width, height)
}

/// Changes one side only. The crate would begin with the vertical pass, which is faster but rounds and cuts overshoot
/// in another order than PIL: up to 3 of 255 apart at hard edges.
fn one_pass(picture: &ImageRgb, width: u32, height: u32) -> ImageRgb {
    let source = ImageRef::new(picture.width(), picture.height(), picture.as_bytes(), PixelType::U8x3)
        .expect("a picture has three bytes per pixel");
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    {
        // The typed call: the other one compiles the resampling of a dozen kinds of pixels, for minutes.
        let (from, to) = (source.typed_image::<U8x3>(), target.typed_image_mut::<U8x3>());
        let (from, mut to) = from.zip(to).expect("both pictures have pixels of three bytes");
        Resizer::new().resize_typed(&from, &mut to, &options).expect("no crop that could lie outside");
    }
    ImageRgb::new(width, height, target.into_vec()).expect("the target has the size asked for")
}

/// Cuts a box out of a picture; the box must lie inside.
pub(super) fn cropped(picture: &ImageRgb, part: CropBox) -> ImageRgb {
    let stride = 3 * picture.width() as usize;
    let (start, bytes) = (3 * part.left as usize, 3 * part.width as usize);
    let rgb = picture
        .as_bytes()
        .chunks_exact(stride)
        .skip(part.top as usize)
        .take(part.height as usize)
        .flat_map(|row| &row[start..start + bytes])
        .copied()
        .collect();
    ImageRgb::new(part.width, part.height, rgb).expect("a box inside the picture")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected bytes: tests/fixtures/make_fixtures.py, `Image.crop(box).resize(size, BICUBIC)` in PIL.
    #[test]
    fn is_within_one_of_pil() {
        let source =
            ImageRgb::new(23, 17, include_bytes!("../../tests/fixtures/resize_source_23x17.rgb").to_vec())
                .unwrap();
        let check = |part: CropBox, width: u32, height: u32, expected: &[u8]| {
            let got = resize(&cropped(&source, part), width, height).unwrap();
            let worst = got.as_bytes().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert_eq!(got.as_bytes().len(), expected.len());
            assert!(worst <= 1, "{width}x{height}: differs by {worst}");
        };
        let whole = CropBox { left: 0, top: 0, width: 23, height: 17 };
        check(whole, 8, 8, include_bytes!("../../tests/fixtures/resize_whole_8x8.rgb"));
        check(whole, 40, 31, include_bytes!("../../tests/fixtures/resize_whole_40x31.rgb"));
        let part = CropBox { left: 4, top: 3, width: 11, height: 9 };
        check(part, 16, 16, include_bytes!("../../tests/fixtures/resize_part_16x16.rgb"));
    }

    #[test]
    fn the_same_size_is_left_alone_and_zero_refused() {
        let picture = ImageRgb::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(resize(&picture, 2, 1).unwrap(), picture);
        assert!(matches!(resize(&picture, 0, 1), Err(Error::Setting { setting: "width", .. })));
        assert!(matches!(resize(&picture, 1, 8_193), Err(Error::Setting { setting: "height", .. })));
    }
}

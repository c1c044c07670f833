//! What part of a picture is shown, and at which size.

use super::check_setting;
use super::crop::{CropBox, CropRange};
use super::resize::{MAX_SIDE_PX, cropped, resized};
use crate::error::Error;
use crate::picture::ImageRgb;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// From a picture of any size to one of `size_px` by `size_px`. All resizing is bicubic with antialias.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Geometry {
    /// A random box, resized: the published augmentation.
    RandomResizedCrop {
        /// Side of the result in pixels.
        size_px: u32,
        /// Which boxes.
        #[serde(default)]
        range: CropRange,
    },
    /// For small pictures: resized to `size_px` if it has another size, then moved by up to `max_shift_px` each way,
    /// uniformly; what comes in at the border is the picture reflected (without repeating its edge).
    RandomShift {
        /// Side of the result in pixels.
        size_px: u32,
        /// Largest shift in pixels, below `size_px`.
        max_shift_px: u32,
    },
    /// No randomness: the shorter side resized to `shorter_side_px`, then the central square.
    CentreCrop {
        /// Side of the result in pixels.
        size_px: u32,
        /// What the shorter side becomes first, at least `size_px`.
        shorter_side_px: u32,
    },
    /// No randomness: the whole picture, stretched to a square; nothing is done if it has the size.
    Resize {
        /// Side of the result in pixels.
        size_px: u32,
    },
}

impl Geometry {
    /// Side of the result in pixels.
    pub fn size_px(&self) -> u32 {
        match *self {
            Self::RandomResizedCrop { size_px, .. }
            | Self::RandomShift { size_px, .. }
            | Self::CentreCrop { size_px, .. }
            | Self::Resize { size_px } => size_px,
        }
    }

    pub(super) fn for_evaluation(&self) -> Self {
        match *self {
            Self::RandomResizedCrop { size_px, .. } => {
                Self::CentreCrop { size_px, shorter_side_px: (size_px * 8).div_ceil(7).min(MAX_SIDE_PX) }
            }
            Self::RandomShift { size_px, .. } => Self::Resize { size_px },
            fixed => fixed,
        }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let size_px = self.size_px();
        check_setting("size_px", size_px, |size| (1..=MAX_SIDE_PX).contains(&size), "must be 1 to 8192")?;
        match *self {
            Self::RandomResizedCrop { range, .. } => range.validate(),
            Self::RandomShift { max_shift_px, .. } => check_setting(
                "max_shift_px",
                max_shift_px,
                |shift| shift < size_px,
                "must be below `size_px`",
            ),
            Self::CentreCrop { shorter_side_px, .. } => {
                let allowed = |side| (size_px..=MAX_SIDE_PX).contains(&side);
                check_setting("shorter_side_px", shorter_side_px, allowed, "must be `size_px` to 8192")
            }
            Self::Resize { .. } => Ok(()),
        }
    }

    /// Settings must be valid.
    pub(super) fn apply(&self, picture: &ImageRgb, rng: &mut impl Rng) -> ImageRgb {
        match *self {
            Self::RandomResizedCrop { size_px, range } => {
                let part = range.draw(picture.width(), picture.height(), rng);
                resized(&cropped(picture, part), size_px, size_px)
            }
            Self::RandomShift { size_px, max_shift_px } => {
                let most = i64::from(max_shift_px);
                let (down, right) = (rng.random_range(-most..=most), rng.random_range(-most..=most));
                shifted(&resized(picture, size_px, size_px), right, down)
            }
            Self::CentreCrop { size_px, shorter_side_px } => centre(picture, size_px, shorter_side_px),
            Self::Resize { size_px } => resized(picture, size_px, size_px),
        }
    }
}

/// The picture moved right and down, its border reflected. Shifts are smaller than the sides.
fn shifted(picture: &ImageRgb, right: i64, down: i64) -> ImageRgb {
    let (width, height) = (picture.width(), picture.height());
    let columns: Vec<u32> = (0..width).map(|x| reflected(i64::from(x) - right, width)).collect();
    let rgb = (0..height)
        .map(|y| reflected(i64::from(y) - down, height))
        .flat_map(|y| columns.iter().flat_map(move |&x| picture.pixel(x, y)))
        .collect();
    ImageRgb::new(width, height, rgb).expect("as many pixels as before")
}

/// A position less than `len` outside `0..len` folded back in: -1 becomes 1, `len` becomes `len - 2`.
fn reflected(at: i64, len: u32) -> u32 {
    let last = i64::from(len) - 1;
    let at = at.abs();
    u32::try_from(if at > last { 2 * last - at } else { at }).expect("shifts are smaller than the picture")
}

/// The central square after resizing the shorter side.
///
/// Of a long strip only the part that will be shown is resized: a picture of 1 x 65,535 pixels would otherwise become
/// gigabytes. Its edge then ends the kernel's reach, which no more ordinary picture meets.
fn centre(picture: &ImageRgb, size_px: u32, shorter_side_px: u32) -> ImageRgb {
    let (width, height) = (picture.width(), picture.height());
    let shorter = width.min(height);
    let long_enough = shorter.saturating_mul(MAX_ASPECT);
    let part = CropBox::central(width.min(long_enough), height.min(long_enough), (width, height));
    let strip_cut =
        if (part.width, part.height) == (width, height) { None } else { Some(cropped(picture, part)) };
    let picture = strip_cut.as_ref().unwrap_or(picture);
    // Truncated, as torchvision's `Resize` does.
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(shorter_side_px) / u64::from(shorter);
        u32::try_from(side).expect("at most MAX_ASPECT times the shorter side")
    };
    let whole = resized(picture, scaled(picture.width()), scaled(picture.height()));
    cropped(&whole, CropBox::central(size_px, size_px, (whole.width(), whole.height())))
}

/// How many times longer than wide a picture may be before its ends are cut off unseen by [`centre`].
const MAX_ASPECT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::AugmentKey;

    fn row(values: &[u8]) -> ImageRgb {
        ImageRgb::from_grey(values.len() as u32, 1, values).unwrap()
    }

    #[test]
    fn a_shift_reflects_without_repeating_the_edge() {
        let check =
            |right, expected: &[u8]| assert_eq!(shifted(&row(&[1, 2, 3, 4]), right, 0), row(expected));
        check(0, &[1, 2, 3, 4]);
        check(2, &[3, 2, 1, 2]);
        check(-3, &[4, 3, 2, 1]);
        let mut tall = ImageRgb::from_grey(1, 3, &[1, 2, 3]).unwrap();
        tall = shifted(&tall, 0, 1);
        assert_eq!(tall, ImageRgb::from_grey(1, 3, &[2, 1, 2]).unwrap());
    }

    #[test]
    fn every_shift_is_equally_likely() {
        let picture = ImageRgb::from_grey(8, 8, &(0..64).collect::<Vec<u8>>()).unwrap();
        let mut counts = [0_u32; 5];
        let n = 5_000;
        for sample_id in 0..n {
            let mut rng = AugmentKey { seed: 5, epoch: 0, sample_id }.rng();
            let got = Geometry::RandomShift { size_px: 8, max_shift_px: 2 }.apply(&picture, &mut rng);
            counts[usize::from(got.pixel(4, 4)[0] % 8) - 2] += 1;
        }
        let bound = 5.0 * (n as f64 * 4.0 / 25.0).sqrt();
        assert!(counts.iter().all(|&count| (f64::from(count) - n as f64 / 5.0).abs() < bound), "{counts:?}");
    }

    #[test]
    fn the_centre_is_the_centre() {
        let mut values = [0_u8; 100];
        values[45..55].fill(200);
        let wide = ImageRgb::from_grey(100, 10, &values.repeat(10)).unwrap();
        assert!(centre(&wide, 8, 10).as_bytes().iter().all(|&value| value == 200));
        let same = centre(&wide, 10, 10);
        assert_eq!((same.width(), same.height()), (10, 10));
    }

    #[test]
    fn a_strip_does_not_fill_the_memory() {
        let strip = ImageRgb::from_grey(1, 65_535, &[9; 65_535]).unwrap();
        assert_eq!(centre(&strip, 224, 256).as_bytes(), vec![9; 3 * 224 * 224]);
    }

    #[test]
    fn evaluation_keeps_the_size() {
        let range = CropRange::default();
        let of = |geometry: Geometry| geometry.for_evaluation();
        assert_eq!(
            of(Geometry::RandomResizedCrop { size_px: 224, range }),
            Geometry::CentreCrop { size_px: 224, shorter_side_px: 256 }
        );
        assert_eq!(
            of(Geometry::RandomShift { size_px: 28, max_shift_px: 3 }),
            Geometry::Resize { size_px: 28 }
        );
    }
}

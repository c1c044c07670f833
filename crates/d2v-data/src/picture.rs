//! A decoded picture: RGB bytes with their size, checked once when made.

use crate::error::Error;

/// An 8-bit RGB picture, rows from top to bottom, three bytes per pixel; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRgb {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl ImageRgb {
    /// A picture from its bytes, row-major, `3 * width * height` of them.
    ///
    /// # Errors
    /// [`Error::PictureShape`] if the number of bytes does not fit, or a side is 0.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, Error> {
        let expected =
            u64::from(width).checked_mul(u64::from(height)).and_then(|pixels| pixels.checked_mul(3));
        if width == 0 || height == 0 || expected != Some(rgb.len() as u64) {
            return Err(Error::PictureShape { width, height, bytes: rgb.len() });
        }
        Ok(Self { width, height, rgb })
    }

    /// A picture from grey bytes, each repeated for the three channels.
    ///
    /// # Errors
    /// [`Error::PictureShape`] if there is not one byte per pixel, or a side is 0.
    pub fn from_grey(width: u32, height: u32, grey: &[u8]) -> Result<Self, Error> {
        Self::new(width, height, grey.iter().flat_map(|&value| [value; 3]).collect())
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, row-major, RGB interleaved.
    pub fn as_bytes(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes, to change in place.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// The colour at column `x` of row `y`.
    ///
    /// # Panics
    /// If the position lies outside the picture.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        assert!(
            x < self.width && y < self.height,
            "pixel ({x}, {y}) of a {}x{} picture",
            self.width,
            self.height
        );
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Mirrors the picture left to right.
    pub fn flip_horizontally(&mut self) {
        for row in self.rgb.chunks_exact_mut(3 * self.width as usize) {
            let (mut left, mut right) = (0, row.len() - 3);
            while left < right {
                let (head, tail) = row.split_at_mut(right);
                head[left..left + 3].swap_with_slice(&mut tail[..3]);
                left += 3;
                right -= 3;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_bytes_must_agree() {
        assert!(ImageRgb::new(2, 1, vec![0; 6]).is_ok());
        for (width, height, bytes) in [(0, 4, 0), (4, 0, 0), (2, 2, 11), (u32::MAX, u32::MAX, 3)] {
            let got = ImageRgb::new(width, height, vec![0; bytes]);
            assert!(
                matches!(got, Err(Error::PictureShape { .. })),
                "{width}x{height}, {bytes} bytes: {got:?}"
            );
        }
    }

    #[test]
    fn flipping_mirrors_each_row_and_twice_is_nothing() {
        for width in 1..6 {
            let original =
                ImageRgb::new(width, 2, (0..6 * width).map(|value| u8::try_from(value).unwrap()).collect())
                    .unwrap();
            let mut flipped = original.clone();
            flipped.flip_horizontally();
            for x in 0..width {
                assert_eq!(flipped.pixel(x, 1), original.pixel(width - 1 - x, 1));
            }
            flipped.flip_horizontally();
            assert_eq!(flipped, original);
        }
    }

    #[test]
    fn grey_is_repeated() {
        let picture = ImageRgb::from_grey(2, 1, &[7, 9]).unwrap();
        assert_eq!(picture.as_bytes(), [7, 7, 7, 9, 9, 9]);
    }
}

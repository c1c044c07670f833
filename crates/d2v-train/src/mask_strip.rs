//! Masks of lines of positions as a picture: a strip for each, hidden positions dark.

use crate::output_error::OutputError;
use crate::picture::MAX_SHEET_PIXELS;
use d2v_masking::Mask;
use image::{Rgba, RgbaImage};

/// Width of a position and height of a strip, in pixels.
const CELL_PX: (u64, u64) = (4, 24);
/// Space between strips, in pixels.
const GAP_PX: u64 = 6;
const HIDDEN: Rgba<u8> = Rgba([196, 98, 16, 255]);
const VISIBLE: Rgba<u8> = Rgba([222, 224, 228, 255]);

/// Draws masks of one row each as strips, the first at the top. The space between, and behind shorter ones, is
/// transparent.
///
/// # Errors
/// [`OutputError::NoPicture`] without a position, [`OutputError::SheetTooLarge`] beyond [`MAX_SHEET_PIXELS`].
pub fn strips(masks: &[Mask]) -> Result<RgbaImage, OutputError> {
    let (rows, len) = (masks.len() as u64, masks.iter().map(Mask::len).max().unwrap_or(0) as u64);
    if len == 0 {
        return Err(OutputError::NoPicture);
    }
    let width = len.saturating_mul(CELL_PX.0);
    let height = rows.saturating_mul(CELL_PX.1 + GAP_PX) - GAP_PX;
    if width.saturating_mul(height) > MAX_SHEET_PIXELS {
        return Err(OutputError::SheetTooLarge { width, height, limit: MAX_SHEET_PIXELS });
    }
    // Below the limit checked above, every coordinate fits.
    Ok(RgbaImage::from_fn(width as u32, height as u32, |x, y| {
        let (row, line) = (u64::from(y) / (CELL_PX.1 + GAP_PX), u64::from(y) % (CELL_PX.1 + GAP_PX));
        let position = (u64::from(x) / CELL_PX.0) as usize;
        match masks[row as usize].row(0).get(position) {
            Some(true) if line < CELL_PX.1 => HIDDEN,
            Some(false) if line < CELL_PX.1 => VISIBLE,
            _ => Rgba([0; 4]),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_per_row_with_its_hidden_positions() {
        let row = |hidden: &[bool]| Mask::new(1, hidden.len(), hidden.to_vec()).unwrap();
        let sheet = strips(&[row(&[true, false, false]), row(&[false, false, true]), row(&[true])]).unwrap();
        assert_eq!(sheet.dimensions(), (12, 3 * 24 + 2 * 6));
        for (x, y, expected) in [(0, 0, HIDDEN), (4, 23, VISIBLE), (11, 30, HIDDEN), (3, 53, VISIBLE)] {
            assert_eq!(*sheet.get_pixel(x, y), expected, "{x}, {y}");
        }
        assert_eq!(sheet.get_pixel(0, 26)[3], 0, "the gap is transparent");
        assert_eq!(sheet.get_pixel(4, 62)[3], 0, "the third strip is shorter");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(matches!(strips(&[]), Err(OutputError::NoPicture)));
        let long = Mask::new(1, 1 << 20, vec![false; 1 << 20]).unwrap();
        assert!(matches!(strips(&[long]), Err(OutputError::SheetTooLarge { .. })));
    }
}

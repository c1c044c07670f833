//! Pictures of masks: what the student sees of an image and what is hidden from it, as one PNG.

use image::{ImageFormat, RgbImage, Rgba, RgbaImage};

use crate::output_error::OutputError;

/// The largest contact sheet made, in pixels (four bytes each): 64 Mi.
pub const MAX_SHEET_PIXELS: u64 = 1 << 26;

/// Clear space between panels, and twice it between samples, in pixels.
const GAP: u32 = 6;
/// What a hidden patch keeps of its brightness in the middle panel, so that one can see what must be guessed.
const HIDDEN_BRIGHTNESS: f32 = 0.3;
/// Diagonal hatching of hidden patches: one line every so many pixels, so thick.
const HATCH_PERIOD: u32 = 8;
const HATCH_THICKNESS: u32 = 2;
const HATCH_COLOUR: [u8; 3] = [235, 130, 40];
const HATCH_OPACITY: f32 = 0.55;
const GRID_COLOUR: [u8; 3] = [128, 128, 128];
const GRID_OPACITY: f32 = 0.5;
/// What stands for nothing in the third panel.
const BLANK_COLOUR: [u8; 3] = [150, 152, 158];

/// An image and the mask of its patches.
#[derive(Clone, Debug)]
pub struct MaskedPicture {
    pixels: RgbImage,
    grid_height: usize,
    grid_width: usize,
    hidden: Vec<bool>,
}

impl MaskedPicture {
    /// An image of `pixels` cut into `grid_height` x `grid_width` patches, of which those with `hidden` true (row by row
    /// from the top left) are hidden from the student.
    ///
    /// # Errors
    /// [`OutputError::MaskShape`] unless `hidden` has one element per patch and each patch at least one pixel.
    pub fn new(
        pixels: RgbImage,
        grid_height: usize,
        grid_width: usize,
        hidden: Vec<bool>,
    ) -> Result<Self, OutputError> {
        let (width, height) = pixels.dimensions();
        let fits = (1..=height as usize).contains(&grid_height)
            && (1..=width as usize).contains(&grid_width)
            && grid_height.checked_mul(grid_width) == Some(hidden.len());
        if !fits {
            return Err(OutputError::MaskShape { got: hidden.len(), grid_height, grid_width, height, width });
        }
        Ok(Self { pixels, grid_height, grid_width, hidden })
    }

    /// The patch that pixel (x, y) lies in, as (row, column).
    fn patch_of(&self, x: u32, y: u32) -> (usize, usize) {
        let (width, height) = self.pixels.dimensions();
        let scaled =
            |at: u32, cells: usize, pixels: u32| (u64::from(at) * cells as u64 / u64::from(pixels)) as usize;
        (scaled(y, self.grid_height, height), scaled(x, self.grid_width, width))
    }

    fn is_hidden(&self, x: u32, y: u32) -> bool {
        let (row, column) = self.patch_of(x, y);
        self.hidden[row * self.grid_width + column]
    }
}

/// How a contact sheet is laid out.
#[derive(Clone, Copy, Debug)]
pub struct SheetLayout {
    /// Samples side by side, each three panels wide; at least 1 is taken.
    pub samples_per_row: u32,
    /// Images are enlarged by the smallest whole factor that makes their longer side at least this many pixels.
    pub min_panel_px: u32,
}

impl Default for SheetLayout {
    /// Two samples a row, panels of 160 pixels and more.
    fn default() -> Self {
        Self { samples_per_row: 2, min_panel_px: 160 }
    }
}

#[derive(Clone, Copy)]
enum Panel {
    Original,
    Hidden,
    Remaining,
}

/// Draws pictures on one sheet: for each the image itself, the image with its hidden patches darkened and hatched, and
/// what remains for the student. The space between is transparent.
///
/// # Errors
/// [`OutputError::NoPicture`] for an empty list, [`OutputError::SheetTooLarge`] beyond [`MAX_SHEET_PIXELS`].
pub fn contact_sheet(pictures: &[MaskedPicture], layout: SheetLayout) -> Result<RgbaImage, OutputError> {
    let first = pictures.first().ok_or(OutputError::NoPicture)?;
    let (mut cell_width, mut cell_height) = first.pixels.dimensions();
    for picture in pictures {
        cell_width = cell_width.max(picture.pixels.width());
        cell_height = cell_height.max(picture.pixels.height());
    }
    let scale = layout.min_panel_px.div_ceil(cell_width.max(cell_height)).max(1);
    let columns = u64::from(layout.samples_per_row.max(1)).min(pictures.len() as u64);
    let rows = (pictures.len() as u64).div_ceil(columns);
    let panel_width = u64::from(cell_width) * u64::from(scale) + u64::from(GAP);
    let (sample_width, sample_height) =
        (panel_width * 3 + u64::from(GAP), u64::from(cell_height) * u64::from(scale) + u64::from(2 * GAP));
    // No gap after the last panel and the last row.
    let (width, height) =
        (columns * sample_width - u64::from(2 * GAP), rows * sample_height - u64::from(2 * GAP));
    if width.saturating_mul(height) > MAX_SHEET_PIXELS {
        return Err(OutputError::SheetTooLarge { width, height, limit: MAX_SHEET_PIXELS });
    }

    // Below the limit checked above, every coordinate fits.
    let mut sheet = RgbaImage::new(width as u32, height as u32);
    for (index, picture) in (0_u64..).zip(pictures) {
        let (left, top) = (index % columns * sample_width, index / columns * sample_height);
        for (order, panel) in (0_u64..).zip([Panel::Original, Panel::Hidden, Panel::Remaining]) {
            draw_panel(&mut sheet, picture, panel, scale, (left + order * panel_width) as u32, top as u32);
        }
    }
    Ok(sheet)
}

/// Encodes a sheet as PNG.
///
/// # Errors
/// [`OutputError::Png`].
pub fn encode_png(sheet: &RgbaImage) -> Result<Vec<u8>, OutputError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn draw_panel(sheet: &mut RgbaImage, picture: &MaskedPicture, panel: Panel, scale: u32, left: u32, top: u32) {
    let (width, height) = picture.pixels.dimensions();
    for y in 0..height * scale {
        for x in 0..width * scale {
            let (at_x, at_y) = (x / scale, y / scale);
            let seen = picture.pixels.get_pixel(at_x, at_y).0;
            let hidden = picture.is_hidden(at_x, at_y);
            // The grid: the first row and column of pixels of every patch but the outermost.
            let patch = picture.patch_of(at_x, at_y);
            let on_grid = (y > 0 && picture.patch_of(at_x, (y - 1) / scale).0 != patch.0)
                || (x > 0 && picture.patch_of((x - 1) / scale, at_y).1 != patch.1);
            let colour = match panel {
                Panel::Original => seen,
                Panel::Hidden if hidden && (x + y) % HATCH_PERIOD < HATCH_THICKNESS => {
                    blend(blend(seen, [0; 3], 1.0 - HIDDEN_BRIGHTNESS), HATCH_COLOUR, HATCH_OPACITY)
                }
                Panel::Hidden if hidden => blend(seen, [0; 3], 1.0 - HIDDEN_BRIGHTNESS),
                Panel::Remaining if hidden => BLANK_COLOUR,
                Panel::Hidden | Panel::Remaining => seen,
            };
            let colour = match panel {
                Panel::Hidden | Panel::Remaining if on_grid => blend(colour, GRID_COLOUR, GRID_OPACITY),
                _ => colour,
            };
            sheet.put_pixel(left + x, top + y, Rgba([colour[0], colour[1], colour[2], 255]));
        }
    }
}

/// `under` covered by `over` with the given opacity, 0 to 1.
fn blend(under: [u8; 3], over: [u8; 3], opacity: f32) -> [u8; 3] {
    std::array::from_fn(|channel| {
        let (under, over) = (f32::from(under[channel]), f32::from(over[channel]));
        (under + (over - under) * opacity).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    const LAYOUT: SheetLayout = SheetLayout { samples_per_row: 2, min_panel_px: 40 };

    /// 8 x 8 white pixels in a 2 x 2 grid, the top right patch hidden: enlarged five times to panels of 40.
    fn white() -> MaskedPicture {
        let pixels = RgbImage::from_pixel(8, 8, Rgb([255; 3]));
        MaskedPicture::new(pixels, 2, 2, vec![false, true, false, false]).unwrap()
    }

    /// Mean brightness of a patch's inside, `panel` counted from the left.
    fn brightness(sheet: &RgbaImage, panel: u32, row: u32, column: u32) -> f32 {
        let (left, top) = (panel * (40 + GAP) + column * 20, row * 20);
        let inside = (2..18).flat_map(|y| (2..18).map(move |x| (x, y)));
        let values: Vec<f32> =
            inside.map(|(x, y)| f32::from(sheet.get_pixel(left + x, top + y)[0])).collect();
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn hidden_patches_are_dark_in_the_second_panel_and_blank_in_the_third() {
        let sheet = contact_sheet(&[white()], LAYOUT).unwrap();
        assert_eq!(sheet.dimensions(), (3 * 40 + 2 * GAP, 40));
        for (row, column) in [(0, 0), (1, 0), (1, 1)] {
            for panel in 0..3 {
                assert_eq!(brightness(&sheet, panel, row, column), 255.0, "panel {panel} at {row}, {column}");
            }
        }
        assert_eq!(brightness(&sheet, 0, 0, 1), 255.0);
        let darkened = brightness(&sheet, 1, 0, 1);
        assert!((70.0..140.0).contains(&darkened), "{darkened}");
        assert_eq!(brightness(&sheet, 2, 0, 1), f32::from(BLANK_COLOUR[0]));
    }

    #[test]
    fn nothing_of_a_hidden_patch_shows_in_what_remains() {
        let noise = |seed: u32| {
            RgbImage::from_fn(8, 8, |x, y| {
                // Differs between seeds in the hidden patch only.
                let value = if x >= 4 && y < 4 { x * 31 + y * 17 + seed * 101 } else { x * 7 + y };
                Rgb([value as u8; 3])
            })
        };
        let remaining = |seed| {
            let picture = MaskedPicture::new(noise(seed), 2, 2, vec![false, true, false, false]).unwrap();
            let sheet = contact_sheet(&[picture], LAYOUT).unwrap();
            image::imageops::crop_imm(&sheet, 2 * (40 + GAP), 0, 40, 40).to_image()
        };
        assert_eq!(remaining(1), remaining(2));
    }

    #[test]
    fn sheets_wrap_into_rows() {
        let sheet = contact_sheet(&[white(), white(), white()], LAYOUT).unwrap();
        assert_eq!(sheet.dimensions(), (2 * (3 * 40 + 4 * GAP) - 2 * GAP, 2 * 40 + 2 * GAP));
        assert_eq!(sheet.get_pixel(40 + GAP / 2, 10)[3], 0, "the gaps are transparent");
        assert_eq!(sheet.get_pixel(sheet.width() - 1, sheet.height() - 1)[3], 0, "the fourth place is free");
    }

    #[test]
    fn png_survives_decoding() {
        let sheet = contact_sheet(&[white()], LAYOUT).unwrap();
        let png = encode_png(&sheet).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().into_rgba8(), sheet);
    }

    #[test]
    fn patches_follow_the_grid_when_it_does_not_divide_the_image() {
        let picture = MaskedPicture::new(RgbImage::new(10, 7), 3, 4, vec![false; 12]).unwrap();
        assert_eq!(picture.patch_of(0, 0), (0, 0));
        assert_eq!(picture.patch_of(9, 6), (2, 3));
        let columns: Vec<usize> = (0..10).map(|x| picture.patch_of(x, 0).1).collect();
        assert_eq!(columns, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let try_grid = |height, width, positions| {
            MaskedPicture::new(RgbImage::new(8, 8), height, width, vec![true; positions]).map(|_| ())
        };
        for (height, width, positions) in [(2, 2, 3), (0, 4, 0), (9, 1, 9), (1, 9, 9), (usize::MAX, 2, 4)] {
            let error = try_grid(height, width, positions).unwrap_err();
            assert!(matches!(error, OutputError::MaskShape { .. }), "{error}");
        }
        assert!(try_grid(8, 8, 64).is_ok());
        assert!(matches!(contact_sheet(&[], LAYOUT), Err(OutputError::NoPicture)));
        let huge = SheetLayout { samples_per_row: 1, min_panel_px: 50_000 };
        assert!(matches!(contact_sheet(&[white()], huge), Err(OutputError::SheetTooLarge { .. })));
    }
}

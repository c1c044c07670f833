//! `d2v masks`, and the masked pictures of a report.

use crate::batches::{Masks, dataset};
use crate::config::RunConfig;
use crate::picture::{MaskedPicture, SheetLayout, contact_sheet, encode_png};
use crate::report::Picture;
use d2v_data::{Dataset, RawSample, Split};
use d2v_masking::Positions;
use image::RgbImage;

/// Samples shown in a report.
const REPORT_SAMPLES: usize = 6;

/// The first pictures of the data with their masks of the first epoch, for a report.
///
/// # Errors
/// If the data cannot be read or the masks do not fit.
pub fn report_pictures(config: &RunConfig) -> anyhow::Result<Vec<Picture>> {
    let data = dataset(&config.data, Split::Train)?;
    let masks = Masks::new(config)?;
    let Positions::Grid { height, width } = masks.positions() else { return Ok(Vec::new()) };
    let readable = (0..data.len()).filter_map(|index| Some((data.id(index), rgb(data.as_ref(), index)?)));
    let (ids, pictures): (Vec<u64>, Vec<RgbImage>) = readable.take(REPORT_SAMPLES).unzip();
    let mask = masks.draw(0, &ids)?;
    let rows = pictures.into_iter().enumerate();
    let masked: Vec<MaskedPicture> = rows
        .map(|(row, picture)| MaskedPicture::new(picture, height, width, mask.row(row).to_vec()))
        .collect::<Result<_, _>>()?;
    let sheet = contact_sheet(&masked, SheetLayout { samples_per_row: 2, min_panel_px: 128 })?;
    let caption = format!(
        "Samples as read, the patches hidden from the student, and what is left: {:.0} % of the positions are hidden.",
        100.0 * mask.hidden_fraction()
    );
    Ok(vec![Picture { png: encode_png(&sheet)?, caption }])
}

fn rgb(data: &dyn Dataset, index: usize) -> Option<RgbImage> {
    match data.load(index).ok()? {
        RawSample::Image(picture) => {
            RgbImage::from_raw(picture.width(), picture.height(), picture.as_bytes().to_vec())
        }
        _ => None,
    }
}

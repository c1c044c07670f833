//! The masked samples of a report.

use super::previews::{self, Samples};
use crate::config::RunConfig;
use crate::human_numbers::percent;
use crate::picture::{SheetLayout, contact_sheet, encode_png};
use crate::report::{MaskedSamples, Picture};
use crate::waveform_picture::waveform_sheet;
use anyhow::bail;
use d2v_data::{AudioTransform, Ragged, Tokenizer, Transform};
use std::sync::Arc;

/// Samples shown.
const REPORT_SAMPLES: usize = 6;
/// Sounds shown: each takes the page's whole width.
const REPORT_SOUNDS: usize = 4;

/// The first samples of the data with their masks of the first epoch, for a report; `tokenizer` is that of a run on text.
///
/// # Errors
/// If the data cannot be read or the masks do not fit.
pub fn report_samples(
    config: &RunConfig,
    tokenizer: Option<Arc<Tokenizer>>,
) -> anyhow::Result<MaskedSamples> {
    let previews = match &config.data.transform {
        Transform::Image(_) => previews::pictures(config, 0, REPORT_SAMPLES)?,
        Transform::Audio(_) => previews::sounds(config, 0, REPORT_SOUNDS)?,
        Transform::Text(_) => previews::words(config, tokenizer, 0, REPORT_SAMPLES)?,
    };
    let share = percent(previews.hidden_fraction());
    Ok(match previews.samples {
        Samples::Sounds(sounds) => {
            let cropped = match &config.data.transform {
                Transform::Audio(AudioTransform { ragged: Ragged::Crop, .. }) => {
                    " In training the samples of a batch are first cropped to the shortest."
                }
                _ => "",
            };
            let caption = format!("Samples as read: {share} of the frames are hidden.{cropped}");
            MaskedSamples::Sounds(Picture { png: encode_png(&waveform_sheet(&sounds)?)?, caption })
        }
        Samples::Words(texts) => {
            let caption = format!("Samples as in the first epoch: {share} of the tokens are hidden.");
            MaskedSamples::Words { texts, caption }
        }
        Samples::Pictures { pictures, .. } => {
            let sheet = contact_sheet(&pictures, SheetLayout { samples_per_row: 2, min_panel_px: 128 })?;
            let caption = format!(
                "Samples as read, the patches hidden from the student, and what is left: {share} of the positions are \
                 hidden."
            );
            MaskedSamples::Pictures(Picture { png: encode_png(&sheet)?, caption })
        }
        Samples::None { .. } => bail!("there are no samples to show"),
    })
}

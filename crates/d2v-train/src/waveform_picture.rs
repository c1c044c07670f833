//! Pictures of what is hidden of sounds: waveforms with the hidden spans shaded, their frames, and seconds, as one PNG.

use crate::output_error::OutputError;
use crate::picture::MAX_SHEET_PIXELS;
use d2v_data::Waveform;
use d2v_encoders::AudioConfig;
use image::{Rgb, RgbImage, Rgba, RgbaImage};
use std::ops::Range;

/// Space around the sheet, in pixels.
pub const MARGIN_PX: u32 = 22;
/// Ground of a waveform where frames are hidden; where they are visible it is [`VISIBLE_GROUND`].
pub const HIDDEN_GROUND: Rgb<u8> = Rgb([252, 224, 196]);
/// Ground of a waveform where frames are visible.
pub const VISIBLE_GROUND: Rgb<u8> = Rgb([244, 246, 249]);

/// Height of a waveform, of which nothing is drawn into the first and last [`WAVE_PADDING_PX`] rows.
const WAVE_PX: u32 = 92;
const WAVE_PADDING_PX: u32 = 4;
/// Height of the row of frames below it, and of the axis below that.
const FRAMES_PX: u32 = 10;
const AXIS_PX: u32 = 22;
const SAMPLE_GAP_PX: u32 = 12;
const TICK_PX: u32 = 5;
/// Marks of the axis are at least so far apart.
const MIN_TICK_DISTANCE_PX: f64 = 70.0;
/// The longest sound is about so wide, as far as that leaves each frame this many pixels.
const TARGET_WIDTH_PX: u32 = 1_040;
const FRAME_WIDTHS_PX: (u32, u32) = (2, 12);
/// From this width on frames are drawn apart from each other.
const MIN_GRID_PX: u32 = 3;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const HIDDEN_WAVE: Rgb<u8> = Rgb([196, 98, 16]);
const VISIBLE_WAVE: Rgb<u8> = Rgb([37, 99, 235]);
const HIDDEN_FRAME: Rgb<u8> = Rgb([196, 98, 16]);
const VISIBLE_FRAME: Rgb<u8> = Rgb([206, 212, 221]);
const AXIS: Rgb<u8> = Rgb([92, 99, 112]);

/// A sound and the mask of its frames.
#[derive(Clone, Debug)]
pub struct MaskedSound {
    sound: Waveform,
    hidden: Vec<bool>,
    /// Samples from frame to frame.
    hop: usize,
    /// Samples before the part that the first frame stands for.
    lead: usize,
}

impl MaskedSound {
    /// A sound that a front end cuts into frames, of which those with `hidden` true are hidden from the student.
    ///
    /// A frame stands for the samples nearest to the middle of what it sees, so half a window at either end of the
    /// sound belongs to none.
    ///
    /// # Errors
    /// [`OutputError::FrameCount`] unless `hidden` has one element per frame.
    pub fn new(sound: Waveform, encoder: &AudioConfig, hidden: Vec<bool>) -> Result<Self, OutputError> {
        let frames = usize::try_from(encoder.frames(sound.len() as i64)).unwrap_or(0);
        if frames != hidden.len() {
            return Err(OutputError::FrameCount { got: hidden.len(), frames, samples: sound.len() });
        }
        let (hop, field) = (encoder.hop().max(1), encoder.receptive_field());
        Ok(Self { sound, hidden, hop: hop as usize, lead: ((field - hop).max(0) / 2) as usize })
    }

    /// One value per frame, true = hidden.
    pub fn hidden(&self) -> &[bool] {
        &self.hidden
    }

    /// The largest amplitude of each frame, as a share of that of the whole sound: 0 to 1.
    pub fn levels(&self) -> Vec<f32> {
        let peak = self.peak();
        let level = |frame: usize| {
            let (low, high) = self.extremes(self.part(frame as u32, 1));
            if peak > 0.0 { low.abs().max(high.abs()) / peak } else { 0.0 }
        };
        (0..self.hidden.len()).map(level).collect()
    }

    /// The samples that column `x` of a drawing stands for in which every frame is `frame_px` columns wide.
    fn part(&self, x: u32, frame_px: u32) -> Range<usize> {
        let at = |x: u64| self.lead + (x * self.hop as u64 / u64::from(frame_px)) as usize;
        let start = at(u64::from(x));
        start..at(u64::from(x) + 1).max(start + 1).min(self.sound.len())
    }

    /// The lowest and the highest sample of a part, over all channels.
    fn extremes(&self, part: Range<usize>) -> (f32, f32) {
        let channels = self.sound.view();
        let part = channels.slice_axis(ndarray::Axis(1), part.into());
        part.iter().fold((0.0, 0.0), |(low, high), &value| (value.min(low), value.max(high)))
    }

    fn peak(&self) -> f32 {
        self.sound.view().iter().fold(0.0, |peak, value| peak.max(value.abs()))
    }
}

/// Draws sounds below each other, all at the same number of pixels per second: each with its hidden spans shaded, its
/// frames as a row of cells (dark: hidden), and seconds.
///
/// # Errors
/// [`OutputError::NoPicture`] for an empty list, [`OutputError::SheetTooLarge`] beyond [`MAX_SHEET_PIXELS`].
pub fn waveform_sheet(sounds: &[MaskedSound]) -> Result<RgbaImage, OutputError> {
    let longest = sounds.iter().map(|sound| sound.hidden.len() as u64).max().unwrap_or(0);
    if longest == 0 {
        return Err(OutputError::NoPicture);
    }
    let fitting = (u64::from(TARGET_WIDTH_PX) / longest) as u32;
    let frame_px = fitting.clamp(FRAME_WIDTHS_PX.0, FRAME_WIDTHS_PX.1);
    let sample_px = u64::from(WAVE_PX + FRAMES_PX + AXIS_PX + SAMPLE_GAP_PX);
    let width = longest * u64::from(frame_px) + u64::from(2 * MARGIN_PX);
    let height = sounds.len() as u64 * sample_px + u64::from(2 * MARGIN_PX - SAMPLE_GAP_PX);
    if width.saturating_mul(height) > MAX_SHEET_PIXELS {
        return Err(OutputError::SheetTooLarge { width, height, limit: MAX_SHEET_PIXELS });
    }
    // Below the limit checked above, every coordinate fits.
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, PAPER);
    for (index, sound) in (0_u64..).zip(sounds) {
        let top = MARGIN_PX + (index * sample_px) as u32;
        draw_wave(&mut sheet, sound, frame_px, top);
        draw_frames(&mut sheet, sound, frame_px, top + WAVE_PX);
        draw_axis(&mut sheet, sound, frame_px, top + WAVE_PX + FRAMES_PX);
    }
    Ok(RgbaImage::from_fn(sheet.width(), sheet.height(), |x, y| {
        let [red, green, blue] = sheet.get_pixel(x, y).0;
        Rgba([red, green, blue, 255])
    }))
}

fn draw_wave(sheet: &mut RgbImage, sound: &MaskedSound, frame_px: u32, top: u32) {
    let peak = sound.peak().max(f32::MIN_POSITIVE);
    let reach = (WAVE_PX / 2 - WAVE_PADDING_PX) as f32;
    let middle = (top + WAVE_PX / 2) as f32;
    for x in 0..sound.hidden.len() as u32 * frame_px {
        let hidden = sound.hidden[(x / frame_px) as usize];
        let (ground, wave) =
            if hidden { (HIDDEN_GROUND, HIDDEN_WAVE) } else { (VISIBLE_GROUND, VISIBLE_WAVE) };
        let (low, high) = sound.extremes(sound.part(x, frame_px));
        let (upper, lower) = (middle - high / peak * reach, middle - low / peak * reach);
        for y in top..top + WAVE_PX {
            let inside = (upper.floor()..=lower.ceil()).contains(&(y as f32));
            sheet.put_pixel(MARGIN_PX + x, y, if inside { wave } else { ground });
        }
    }
}

fn draw_frames(sheet: &mut RgbImage, sound: &MaskedSound, frame_px: u32, top: u32) {
    for x in 0..sound.hidden.len() as u32 * frame_px {
        let hidden = sound.hidden[(x / frame_px) as usize];
        let between = frame_px >= MIN_GRID_PX && x % frame_px == frame_px - 1;
        let colour = match (between, hidden) {
            (true, _) => PAPER,
            (false, true) => HIDDEN_FRAME,
            (false, false) => VISIBLE_FRAME,
        };
        // A line of paper between the waveform and its frames.
        (top + 2..top + FRAMES_PX).for_each(|y| sheet.put_pixel(MARGIN_PX + x, y, colour));
    }
}

fn draw_axis(sheet: &mut RgbImage, sound: &MaskedSound, frame_px: u32, top: u32) {
    let samples_per_px = sound.hop as f64 / f64::from(frame_px);
    let seconds_per_px = samples_per_px / f64::from(sound.sound.rate_hz());
    let step = tick_seconds(seconds_per_px * MIN_TICK_DISTANCE_PX);
    let width = sound.hidden.len() as u32 * frame_px;
    let lead = sound.lead as f64 / samples_per_px;
    for tick in 0_u32.. {
        let seconds = f64::from(tick) * step;
        let x = (seconds / seconds_per_px - lead).round();
        if x >= f64::from(width) {
            break;
        }
        if x < 0.0 && tick > 0 {
            continue;
        }
        // The beginning lies half a window before the first column.
        let x = MARGIN_PX + x.max(0.0) as u32;
        (top..top + TICK_PX).for_each(|y| sheet.put_pixel(x, y, AXIS));
        let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
        write_figures(sheet, &format!("{seconds:.decimals$} s"), x, top + TICK_PX + 3);
    }
}

/// The smallest of 1, 2 and 5 times a power of ten, from a hundredth on, that is at least `least`.
fn tick_seconds(least: f64) -> f64 {
    let powers = (-2..6).map(|power| 10_f64.powi(power));
    let steps = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * power));
    steps.clone().find(|&step| step >= least).unwrap_or(1e6)
}

/// Figures of three by five points, a row of each in three bits from the top: the axis needs no font of the system.
const FIGURES: [(char, [u8; 5]); 12] = [
    ('0', [0b111, 0b101, 0b101, 0b101, 0b111]),
    ('1', [0b010, 0b110, 0b010, 0b010, 0b111]),
    ('2', [0b111, 0b001, 0b111, 0b100, 0b111]),
    ('3', [0b111, 0b001, 0b111, 0b001, 0b111]),
    ('4', [0b101, 0b101, 0b111, 0b001, 0b001]),
    ('5', [0b111, 0b100, 0b111, 0b001, 0b111]),
    ('6', [0b111, 0b100, 0b111, 0b101, 0b111]),
    ('7', [0b111, 0b001, 0b010, 0b010, 0b010]),
    ('8', [0b111, 0b101, 0b111, 0b101, 0b111]),
    ('9', [0b111, 0b101, 0b111, 0b001, 0b111]),
    ('.', [0b000, 0b000, 0b000, 0b000, 0b010]),
    ('s', [0b000, 0b011, 0b110, 0b011, 0b110]),
];
/// Pixels of a point.
const POINT_PX: u32 = 2;

/// Writes centred below `x`, as far as the sheet reaches.
fn write_figures(sheet: &mut RgbImage, text: &str, x: u32, top: u32) {
    let advance = 4 * POINT_PX;
    let left = x.saturating_sub(text.len() as u32 * advance / 2);
    for (place, character) in (0_u32..).zip(text.chars()) {
        let Some((_, rows)) = FIGURES.iter().find(|(figure, _)| *figure == character) else { continue };
        for (row, column) in (0_u32..5).flat_map(|row| (0_u32..3).map(move |column| (row, column))) {
            if rows[row as usize] >> (2 - column) & 1 == 0 {
                continue;
            }
            let (x, y) = (left + place * advance + column * POINT_PX, top + row * POINT_PX);
            for (x, y) in [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)] {
                if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
                    *pixel = AXIS;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_encoders::{AudioFeatures, PositionalConv};

    /// 100 frames a second at 8 kHz, each seeing 32 ms.
    fn encoder() -> AudioConfig {
        AudioConfig {
            sample_rate_hz: 8_000,
            channels: 1,
            features: AudioFeatures::LogMel { bands: 40, window: 256, hop: 80, stacked: 1 },
            positional: PositionalConv { layers: 1, kernel: 3, groups: 1 },
            norm_eps: 1e-5,
        }
    }

    /// Quiet but for one click at a sample.
    fn click(samples: usize, at: usize) -> Waveform {
        Waveform::mono(8_000, (0..samples).map(|sample| f32::from(u8::from(sample == at))).collect()).unwrap()
    }

    fn masked(samples: usize, at: usize, is_hidden: impl Fn(usize) -> bool) -> MaskedSound {
        let frames = encoder().frames(samples as i64) as usize;
        MaskedSound::new(click(samples, at), &encoder(), (0..frames).map(is_hidden).collect()).unwrap()
    }

    #[test]
    fn shaded_are_the_columns_of_hidden_frames() {
        let is_hidden = |frame: usize| (10..25).contains(&frame) || frame == 40;
        let sound = masked(8_000, 4_000, is_hidden);
        let frames = sound.hidden().len() as u32;
        let sheet = waveform_sheet(&[sound.clone(), sound]).unwrap();
        let frame_px = (sheet.width() - 2 * MARGIN_PX) / frames;
        assert_eq!((frames, frame_px), (97, 10));
        let sample_px = WAVE_PX + FRAMES_PX + AXIS_PX + SAMPLE_GAP_PX;
        assert_eq!(sheet.height(), 2 * sample_px - SAMPLE_GAP_PX + 2 * MARGIN_PX);
        for x in 0..frames * frame_px {
            let ground = if is_hidden((x / frame_px) as usize) { HIDDEN_GROUND } else { VISIBLE_GROUND };
            for top in [MARGIN_PX, MARGIN_PX + sample_px] {
                assert_eq!(sheet.get_pixel(MARGIN_PX + x, top).0[..3], ground.0, "column {x} from {top}");
            }
        }
    }

    #[test]
    fn a_click_shows_where_its_frame_is() {
        // Frame 30 sees samples 2400 to 2655; 2528 is in the middle.
        let sound = masked(8_000, 2_528, |_| false);
        let levels = sound.levels();
        let loud: Vec<usize> = (0..levels.len()).filter(|&frame| levels[frame] > 0.0).collect();
        assert_eq!((loud, levels[30]), (vec![30], 1.0));
        let sheet = waveform_sheet(&[sound]).unwrap();
        let high = MARGIN_PX + WAVE_PADDING_PX + 1;
        let columns: Vec<u32> =
            (0..970).filter(|&x| sheet.get_pixel(MARGIN_PX + x, high).0[..3] == VISIBLE_WAVE.0).collect();
        assert_eq!(columns.len(), 1, "{columns:?}");
        assert!((300..310).contains(&columns[0]), "{columns:?}");
    }

    #[test]
    fn silence_has_no_level() {
        let sound = masked(800, 10_000, |_| true);
        assert!(sound.levels().iter().all(|&level| level == 0.0));
        assert!(waveform_sheet(&[sound]).is_ok());
    }

    #[test]
    fn marks_are_round_seconds() {
        for (least, step) in [(0.001, 0.01), (0.03, 0.05), (0.07, 0.1), (0.5, 0.5), (1.1, 2.0), (70.0, 100.0)]
        {
            assert!((tick_seconds(least) - step).abs() < 1e-9, "{least}: {}", tick_seconds(least));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = MaskedSound::new(click(8_000, 0), &encoder(), vec![true; 96]).unwrap_err();
        assert!(matches!(error, OutputError::FrameCount { got: 96, frames: 97, samples: 8_000 }), "{error}");
        assert!(matches!(waveform_sheet(&[]), Err(OutputError::NoPicture)));
        let long = masked(80 * 100_000 + 256, 0, |_| false);
        assert!(matches!(waveform_sheet(&vec![long; 4]), Err(OutputError::SheetTooLarge { .. })));
    }
}

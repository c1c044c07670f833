//! Sound: normalised as a whole, digital silence filled with faint noise, then cropped or padded to its batch.

use crate::error::Error;
use crate::random::{AugmentKey, Domain, keyed_rng};
use crate::waveform::Waveform;
use ndarray::{Array2, ArrayView1, Axis};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What is added to the variance, as the reference's layer norm does (specification 2.2).
const EPS: f64 = 1e-5;
/// So many still samples in a row are digital silence (or clipping) by default: the kernel of the first convolution of
/// data2vec's front end (specification 2.2), so that none of its windows is without variance.
const STILL_SAMPLES: usize = 10;
/// Samples stand still where they differ by at most this part of the channel's loudest: 120 dB below it.
///
/// Equality alone would miss the silence beside sound in a resampled recording: what rounding leaves there was measured
/// to differ by up to 2e-7 of the loudest within ten samples. One step of 16-bit sound is 3e-5 of the loudest at least, so
/// that recordings of 16 bits stand still where samples are equal, and nowhere else.
const STILL_SPREAD: f32 = 1e-6;

/// How samples of different lengths become one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ragged {
    /// All are cropped at a random offset to the shortest; no padding arises (the reference's pre-training, spec 2.2).
    #[default]
    Crop,
    /// Shorter ones are padded with zeros behind, and the lengths told.
    Pad,
}

/// The steps from decoded sound to the network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AudioTransform {
    /// Brings each channel of the whole sample to mean 0 and variance 1 (eps 1e-5) before anything is cut off.
    pub normalise: bool,
    /// Standard deviation of the noise put where a channel stands still, in units of the normalised signal; 0: none.
    pub silence_noise: f32,
    /// How many samples in a row must be still to be given noise, 2 to 1,000; absent: 10. At most the first window of
    /// the network, or one that sees a shorter silence alone has no variance: `d2v` takes the kernel of the first
    /// convolution where that is less than 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_samples: Option<usize>,
    /// How the lengths of a batch are made equal.
    pub ragged: Ragged,
}

impl Default for AudioTransform {
    fn default() -> Self {
        Self { normalise: true, silence_noise: 0.01, still_samples: None, ragged: Ragged::Crop }
    }
}

impl AudioTransform {
    /// What `still_samples` is where it is absent.
    pub const STILL_SAMPLES: usize = STILL_SAMPLES;

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let range = |noise: f32| (0.0..=1.0).contains(&noise);
        super::check_setting("silence_noise", self.silence_noise, range, "must be 0 to 1")?;
        let range = |count: usize| (2..=1_000).contains(&count);
        let still_samples = self.still_samples.unwrap_or(STILL_SAMPLES);
        super::check_setting("still_samples", still_samples, range, "must be 2 to 1000")
    }

    /// Every sample whole: the lengths of a batch are made equal by padding.
    pub fn for_evaluation(&self) -> Self {
        Self { ragged: Ragged::Pad, ..self.clone() }
    }

    /// Normalises a sound and fills its digital silence: a pure function of sound and key. Returns `[C, T]`.
    ///
    /// A channel stands still where as many samples as `still_samples` follow each other that are equal, whatever their
    /// value, or differ by no more than a millionth of the channel's loudest. Without noise there, a window of silence has
    /// no variance, and the norms that follow divide by nearly nothing. Everything else is left as it is.
    ///
    /// # Errors
    /// [`Error::Setting`] if the settings are not valid.
    pub fn apply(&self, sound: Waveform, key: AugmentKey) -> Result<Array2<f32>, Error> {
        self.validate()?;
        let AugmentKey { seed, epoch, sample_id } = key;
        let mut rng = keyed_rng(Domain::Noise, seed, epoch, sample_id);
        let mut samples_ct = sound.into_array();
        for mut channel in samples_ct.axis_iter_mut(Axis(0)) {
            let window = self.still_samples.unwrap_or(STILL_SAMPLES);
            let still = if self.silence_noise > 0.0 { still(&channel.view(), window) } else { Vec::new() };
            let (mean, deviation) = statistics(&channel.view());
            let scale = if self.normalise {
                channel.mapv_inplace(|value| ((f64::from(value) - mean) / deviation) as f32);
                self.silence_noise
            } else {
                self.silence_noise * deviation as f32
            };
            for at in still.into_iter().flatten() {
                let noise: f32 = StandardNormal.sample(&mut rng);
                channel[at] += scale * noise;
            }
        }
        Ok(samples_ct)
    }
}

/// Mean, and deviation with the variance's denominator `T` and eps added, as in layer norm.
fn statistics(channel: &ArrayView1<'_, f32>) -> (f64, f64) {
    let count = channel.len() as f64;
    let mean = channel.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = channel.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    (mean, (variance + EPS).sqrt())
}

/// What windows of so many samples cover of which all differ by at most [`STILL_SPREAD`] of the loudest sample.
fn still(channel: &ArrayView1<'_, f32>, window: usize) -> Vec<Range<usize>> {
    let most = STILL_SPREAD * channel.iter().fold(0.0_f32, |loudest, value| loudest.max(value.abs()));
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for at in 1..=channel.len() {
        if at < channel.len() && (channel[at] - channel[at - 1]).abs() <= most {
            continue;
        }
        // No step from `start` to here is too large, so that only here can be windows without a large difference.
        for first in start..(at + 1).saturating_sub(window).max(start) {
            let range = first..first + window;
            if spread(channel, range.clone()) > most {
                continue;
            }
            match found.last_mut() {
                Some(last) if first < last.end => last.end = range.end,
                _ => found.push(range),
            }
        }
        start = at;
    }
    found
}

fn spread(channel: &ArrayView1<'_, f32>, range: Range<usize>) -> f32 {
    let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
    for at in range {
        least = least.min(channel[at]);
        greatest = greatest.max(channel[at]);
    }
    greatest - least
}

/// A part of `length` samples at an offset that depends on the key alone.
pub(crate) fn crop(samples_ct: &Array2<f32>, length: usize, key: AugmentKey) -> Array2<f32> {
    let room = samples_ct.ncols().saturating_sub(length);
    let AugmentKey { seed, epoch, sample_id } = key;
    let start = keyed_rng(Domain::Crop, seed, epoch, sample_id).random_range(0..=room);
    samples_ct.slice_axis(Axis(1), (start..start + length).into()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: AugmentKey = AugmentKey { seed: 1, epoch: 2, sample_id: 3 };

    fn hashed(at: usize) -> f32 {
        ((at as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32
    }

    fn of(transform: &AudioTransform, rows: &[Vec<f32>], key: AugmentKey) -> Array2<f32> {
        let shape = (rows.len(), rows[0].len());
        let samples_ct = Array2::from_shape_vec(shape, rows.concat()).unwrap();
        transform.apply(Waveform::new(16_000, samples_ct).unwrap(), key).unwrap()
    }

    #[test]
    fn each_channel_has_mean_0_and_variance_1() {
        let rows =
            [0.3, 700.0].map(|scale| (0..5_000).map(|at| scale * hashed(at) + 4.0).collect::<Vec<f32>>());
        let got = of(&AudioTransform::default(), &rows, KEY);
        for (channel, row) in got.outer_iter().zip(&rows) {
            let (mean, deviation) = statistics(&channel);
            assert!(mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-3, "{mean} {deviation}");
            // The formula of layer norm, in double precision.
            let (mean, deviation) = statistics(&ArrayView1::from(row));
            for (value, from) in channel.iter().zip(row) {
                let expected = (f64::from(*from) - mean) / deviation;
                assert!((f64::from(*value) - expected).abs() < 1e-6, "{value} {expected}");
            }
        }
    }

    #[test]
    fn noise_is_where_the_sound_stands_still_and_nowhere_else() {
        let mut row: Vec<f32> = (0..1_000).map(hashed).collect();
        row[100..110].fill(0.0);
        row[200..209].fill(0.0);
        row[990..].fill(0.7);
        let quiet = AudioTransform { silence_noise: 0.0, ..AudioTransform::default() };
        let (without, with) = (of(&quiet, &[row.clone()], KEY), of(&AudioTransform::default(), &[row], KEY));
        let changed: Vec<usize> = (0..1_000).filter(|&at| without[[0, at]] != with[[0, at]]).collect();
        assert_eq!(changed, (100..110).chain(990..1_000).collect::<Vec<_>>());
    }

    /// With a first kernel of 4, nine zeros are windows without variance.
    #[test]
    fn how_much_is_silence_is_a_setting() {
        let mut row: Vec<f32> = (0..400).map(hashed).collect();
        row[100..104].fill(0.0);
        row[200..203].fill(0.0);
        row[300..309].fill(0.3);
        let noisy = AudioTransform { still_samples: Some(4), ..AudioTransform::default() };
        let quiet = AudioTransform { silence_noise: 0.0, ..AudioTransform::default() };
        let (without, with) = (of(&quiet, &[row.clone()], KEY), of(&noisy, &[row.clone()], KEY));
        let changed: Vec<usize> = (0..400).filter(|&at| without[[0, at]] != with[[0, at]]).collect();
        assert_eq!(changed, (100..104).chain(300..309).collect::<Vec<_>>());
        let row = with.row(0);
        assert!((0..397).all(|at| spread(&row, at..at + 4) > 1e-4));
    }

    /// Rounding noise beside sound is silence; one step of 16-bit sound is not, and neither is a slow wave.
    #[test]
    fn nearly_equal_samples_stand_still() {
        let found = |of: &dyn Fn(usize) -> f32| {
            let mut row: Vec<f32> = (0..300).map(of).collect();
            row[0] = 1.0;
            still(&ArrayView1::from(&row), 10)
        };
        assert_eq!(found(&|at| 4e-7 * hashed(at)), std::slice::from_ref(&(1..300)));
        assert!(found(&|at| (at % 2) as f32 / 32_768.0).is_empty());
        assert_eq!(
            found(&|at| (at / 10) as f32 / 32_768.0),
            (0..30).map(|n| 10 * n..10 * n + 10).skip(1).collect::<Vec<_>>()
        );
        assert!(found(&|at| (at as f32 * 0.002).sin()).is_empty());
        // Steps that are small, and yet lead away.
        assert!(found(&|at| at as f32 * 3e-7).is_empty());
        assert_eq!(found(&|_| 0.5), std::slice::from_ref(&(1..300)));
    }

    #[test]
    fn silence_becomes_noise_of_the_size_asked_for() {
        for value in [0.0, 0.25] {
            let got = of(&AudioTransform::default(), &[vec![value; 20_000]], KEY);
            let (mean, deviation) = statistics(&got.row(0));
            // Ten standard errors of mean and deviation.
            assert!(mean.abs() < 7e-4 && (deviation - 0.01).abs() < 7e-4, "{mean} {deviation}");
        }
    }

    #[test]
    fn without_normalisation_noise_follows_the_loudness() {
        let transform = AudioTransform { normalise: false, ..AudioTransform::default() };
        let mut row: Vec<f32> = (0..4_000).map(|at| 100.0 * hashed(at)).collect();
        row[..2_000].fill(50.0);
        let got = of(&transform, &[row.clone()], KEY);
        assert_eq!(got.as_slice().unwrap()[2_000..], row[2_000..]);
        let (_, of_all) = statistics(&ArrayView1::from(&row));
        let (_, of_noise) = statistics(&got.slice_axis(Axis(1), (..2_000).into()).row(0));
        assert!((of_noise / of_all - 0.01).abs() < 0.002, "{of_noise} {of_all}");
    }

    #[test]
    fn noise_is_a_function_of_the_key() {
        let silence = [vec![0.0; 50], vec![0.0; 50]];
        let with = |key| of(&AudioTransform::default(), &silence, key);
        assert_eq!(with(KEY), with(KEY));
        for key in [
            AugmentKey { seed: 9, ..KEY },
            AugmentKey { epoch: 9, ..KEY },
            AugmentKey { sample_id: 9, ..KEY },
        ] {
            assert_ne!(with(KEY), with(key));
        }
        assert_ne!(with(KEY).row(0), with(KEY).row(1), "channels differ");
    }

    #[test]
    fn settings_are_checked() {
        for silence_noise in [-0.1, 1.1, f32::NAN] {
            assert!(AudioTransform { silence_noise, ..AudioTransform::default() }.validate().is_err());
        }
        for still_samples in [0, 1, 1_001] {
            let transform =
                AudioTransform { still_samples: Some(still_samples), ..AudioTransform::default() };
            assert!(transform.validate().is_err());
        }
        let text = toml::to_string(&AudioTransform::default()).unwrap();
        assert!(!text.contains("still_samples"), "{text}");
        assert_eq!(
            toml::from_str("still_samples = 4"),
            Ok(AudioTransform { still_samples: Some(4), ..AudioTransform::default() })
        );
    }

    proptest! {
        #[test]
        fn runs_are_found_wherever_they_lie(
            lengths in proptest::collection::vec(1_usize..25, 1..20),
            window in 2_usize..20,
        ) {
            let mut row = Vec::new();
            let mut expected = Vec::new();
            for (number, &length) in lengths.iter().enumerate() {
                if length >= window {
                    expected.push(row.len()..row.len() + length);
                }
                row.extend(std::iter::repeat_n(number as f32, length));
            }
            prop_assert_eq!(still(&ArrayView1::from(&row), window), expected);
        }
    }
}

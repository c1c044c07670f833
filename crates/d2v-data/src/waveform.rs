//! Decoded sound: one or more channels at one rate, checked once when made.

use crate::error::Error;
use ndarray::{Array2, ArrayView2};

/// Sound with `C` channels of `T` samples each at a rate in Hz, finite values, in about [-1, 1]; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    rate_hz: u32,
    samples_ct: Array2<f32>,
}

impl Waveform {
    /// Sound from its samples `[C, T]`.
    ///
    /// # Errors
    /// [`Error::WaveformShape`] without channels, samples or rate; [`Error::WaveformValue`] if a sample is not finite.
    pub fn new(rate_hz: u32, samples_ct: Array2<f32>) -> Result<Self, Error> {
        let (channels, samples) = samples_ct.dim();
        if channels == 0 || samples == 0 || rate_hz == 0 {
            return Err(Error::WaveformShape { channels, samples, rate_hz });
        }
        if let Some(((_, at), value)) = samples_ct.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::WaveformValue { at, value: *value });
        }
        Ok(Self { rate_hz, samples_ct })
    }

    /// One channel.
    ///
    /// # Errors
    /// As [`Waveform::new`].
    pub fn mono(rate_hz: u32, samples: Vec<f32>) -> Result<Self, Error> {
        let count = samples.len();
        let samples_ct = Array2::from_shape_vec((1, count), samples).expect("one row of all samples");
        Self::new(rate_hz, samples_ct)
    }

    /// Samples per second of each channel.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Number of channels, at least 1.
    pub fn channels(&self) -> usize {
        self.samples_ct.nrows()
    }

    /// Samples per channel, at least 1.
    pub fn len(&self) -> usize {
        self.samples_ct.ncols()
    }

    /// Always false: there is at least one sample.
    pub fn is_empty(&self) -> bool {
        self.samples_ct.is_empty()
    }

    /// The samples `[C, T]`.
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.samples_ct.view()
    }

    /// The samples `[C, T]`, by value.
    pub fn into_array(self) -> Array2<f32> {
        self.samples_ct
    }
}

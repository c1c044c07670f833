//! Sizes of the speech front end, and what follows from them: frames, receptive field, operations.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One convolution over time: no padding, no bias, then layer norm over channels and GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvLayer {
    /// Channels that come out.
    pub width: i64,
    /// Frames that an output frame sees.
    pub kernel: i64,
    /// Frames between two outputs, at most `kernel`: no input is skipped.
    pub stride: i64,
}

/// From sound to local features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AudioFeatures {
    /// Learned convolutions on the waveform (wav2vec 2.0, spec 2.2).
    Waveform {
        /// The convolutions, first to last.
        layers: Vec<ConvLayer>,
        /// Factor on the gradient that reaches the convolutions: 1 in data2vec, 0.1 in wav2vec 2.0.
        #[serde(default = "one")]
        gradient_multiplier: f64,
    },
    /// Logarithms of the energy in mel bands, not learned: for small data, where a front end is hard to learn.
    LogMel {
        /// Number of bands.
        bands: i64,
        /// Samples of a window (Hann).
        window: i64,
        /// Samples between two windows.
        hop: i64,
        /// Neighbouring windows that make one frame.
        stacked: i64,
    },
}

fn one() -> f64 {
    1.0
}

/// Convolutions whose output, added to the frames, tells them where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionalConv {
    /// Number of layers, at least 1.
    pub layers: usize,
    /// Frames that each sees.
    pub kernel: i64,
    /// Groups of channels; divides the width of the Transformer.
    pub groups: i64,
}

/// Sound of one or more channels at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioConfig {
    /// Samples per second that the data is brought to.
    pub sample_rate_hz: u32,
    /// Channels; more than 1 for sensors with several.
    #[serde(default = "mono")]
    pub channels: i64,
    /// Sound to features.
    pub features: AudioFeatures,
    /// Features to positions.
    pub positional: PositionalConv,
    /// Added to the variance in the norms; 1e-5 in the published models.
    #[serde(default = "eps")]
    pub norm_eps: f64,
}

fn mono() -> i64 {
    1
}

fn eps() -> f64 {
    1e-5
}

impl AudioConfig {
    /// The published front end: 16 kHz, seven convolutions of 512 channels, five positional ones (spec 2.2).
    pub fn data2vec() -> AudioConfig {
        let layer = |kernel, stride| ConvLayer { width: 512, kernel, stride };
        AudioConfig {
            sample_rate_hz: 16_000,
            channels: 1,
            features: AudioFeatures::Waveform {
                layers: [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]
                    .map(|(kernel, stride)| layer(kernel, stride))
                    .to_vec(),
                gradient_multiplier: 1.0,
            },
            positional: PositionalConv { layers: 5, kernel: 19, groups: 16 },
            norm_eps: 1e-5,
        }
    }

    /// Frames that so many samples make; 0 if they are fewer than the receptive field.
    pub fn frames(&self, samples: i64) -> i64 {
        match &self.features {
            AudioFeatures::Waveform { layers, .. } => {
                layers.iter().fold(samples, |length, layer| outputs(length, layer.kernel, layer.stride))
            }
            AudioFeatures::LogMel { window, hop, stacked, .. } => outputs(samples, *window, *hop) / stacked,
        }
    }

    /// Samples that one frame sees.
    pub fn receptive_field(&self) -> i64 {
        match &self.features {
            AudioFeatures::Waveform { layers, .. } => {
                let (field, _) = layers.iter().fold((1, 1), |(field, step), layer| {
                    (field + (layer.kernel - 1) * step, step * layer.stride)
                });
                field
            }
            AudioFeatures::LogMel { window, hop, stacked, .. } => window + (stacked - 1) * hop,
        }
    }

    /// Samples between the starts of two frames.
    pub fn hop(&self) -> i64 {
        match &self.features {
            AudioFeatures::Waveform { layers, .. } => layers.iter().map(|layer| layer.stride).product(),
            AudioFeatures::LogMel { hop, stacked, .. } => hop * stacked,
        }
    }

    /// Frames per second.
    pub fn frame_rate_hz(&self) -> f64 {
        f64::from(self.sample_rate_hz) / self.hop() as f64
    }

    /// Values of a frame before the projection to the Transformer's width.
    pub fn feature_width(&self) -> i64 {
        match &self.features {
            AudioFeatures::Waveform { layers, .. } => {
                layers.last().map_or(self.channels, |layer| layer.width)
            }
            AudioFeatures::LogMel { bands, stacked, .. } => bands * stacked * self.channels,
        }
    }

    /// Values that come out of all convolutions together for one sound of so many samples; 0 for mel bands.
    pub fn convolved_values(&self, samples: i64) -> i64 {
        let AudioFeatures::Waveform { layers, .. } = &self.features else { return 0 };
        let mut length = samples;
        let values = layers.iter().map(|layer| {
            length = outputs(length, layer.kernel, layer.stride);
            length * layer.width
        });
        values.sum()
    }

    /// Multiply-adds times two of convolutions and projection for one sample, forward (spec 8).
    pub fn feature_flops(&self, samples: i64, width: i64) -> u64 {
        let mut flops = 2 * self.frames(samples) * self.feature_width() * width;
        if let AudioFeatures::Waveform { layers, .. } = &self.features {
            let (mut length, mut channels) = (samples, self.channels);
            for layer in layers {
                length = outputs(length, layer.kernel, layer.stride);
                flops += 2 * length * layer.kernel * channels * layer.width;
                channels = layer.width;
            }
        }
        flops as u64
    }

    /// Multiply-adds times two of the positional convolutions for so many frames, forward (spec 8).
    pub fn positional_flops(&self, frames: i64, width: i64) -> u64 {
        let PositionalConv { layers, kernel, groups } = self.positional;
        layers as u64 * (2 * frames * kernel * (width / groups) * width) as u64
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that breaks its rule.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, value: String, rule| Err(Error::Config { key, value, rule });
        let PositionalConv { layers, kernel, groups } = self.positional;
        let at_least_one = [
            ("sample_rate_hz", i64::from(self.sample_rate_hz)),
            ("channels", self.channels),
            ("positional.layers", layers as i64),
            ("positional.kernel", kernel),
            ("positional.groups", groups),
        ];
        for (key, value) in at_least_one.into_iter().chain(self.feature_sizes()) {
            if value < 1 {
                return refuse(key, value.to_string(), "must be at least 1");
            }
        }
        match &self.features {
            AudioFeatures::Waveform { layers, gradient_multiplier } => {
                if layers.is_empty() {
                    return refuse("features.layers", "[]".into(), "needs at least one convolution");
                }
                if let Some(layer) = layers.iter().find(|layer| layer.stride > layer.kernel) {
                    let value = format!("kernel {} with stride {}", layer.kernel, layer.stride);
                    return refuse("features.layers", value, "a stride above its kernel skips input");
                }
                if !(0.0..=1.0).contains(gradient_multiplier) {
                    let value = gradient_multiplier.to_string();
                    return refuse("features.gradient_multiplier", value, "must be 0 to 1");
                }
            }
            AudioFeatures::LogMel { bands, window, .. } => {
                if *bands > window / 2 {
                    let value = format!("{bands} with a window of {window}");
                    return refuse("features.bands", value, "must be at most half the window");
                }
            }
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            return refuse("norm_eps", self.norm_eps.to_string(), "must be above 0");
        }
        Ok(())
    }

    fn feature_sizes(&self) -> Vec<(&'static str, i64)> {
        match &self.features {
            AudioFeatures::Waveform { layers, .. } => layers
                .iter()
                .flat_map(|layer| [layer.width, layer.kernel, layer.stride])
                .map(|value| ("features.layers", value))
                .collect(),
            AudioFeatures::LogMel { bands, window, hop, stacked } => vec![
                ("features.bands", *bands),
                ("features.window", *window),
                ("features.hop", *hop),
                ("features.stacked", *stacked),
            ],
        }
    }
}

/// Outputs of a window moved over `length` inputs without padding.
fn outputs(length: i64, kernel: i64, stride: i64) -> i64 {
    if length < kernel { 0 } else { (length - kernel) / stride + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_front_end_is_the_one_described() {
        let config = AudioConfig::data2vec();
        config.validate().unwrap();
        assert_eq!((config.receptive_field(), config.hop()), (400, 320), "25 ms every 20 ms");
        assert_eq!(config.frames(16_000), 49, "one second");
        assert_eq!(config.frames(320_000), 999, "20 s");
        assert_eq!((config.frames(399), config.frames(400)), (0, 1), "the shortest sound");
        // Spec 8: 4.90 GFLOP per second of audio without the projection.
        let cnn = config.feature_flops(160_000, 0) as f64 / 10.0;
        assert!((cnn / 1e9 - 4.90).abs() < 0.01, "{cnn}");
        let block = 12.0 * (24.0 * 499.0 * 768.0 * 768.0 + 4.0 * 499.0 * 499.0 * 768.0);
        let teacher = config.positional_flops(499, 768) as f64 + block;
        assert!((teacher / 1e9 - 97.4).abs() < 0.05, "10 s through the teacher: {teacher}");
    }

    #[test]
    fn other_rates_are_a_configuration() {
        let config = AudioConfig {
            sample_rate_hz: 8_000,
            channels: 3,
            features: AudioFeatures::LogMel { bands: 40, window: 256, hop: 80, stacked: 2 },
            ..AudioConfig::data2vec()
        };
        config.validate().unwrap();
        assert_eq!((config.frame_rate_hz(), config.feature_width()), (50.0, 240));
        assert_eq!((config.receptive_field(), config.frames(336), config.frames(335)), (336, 1, 0));
    }

    #[test]
    fn nonsense_is_named() {
        let check = |change: fn(&mut AudioConfig), message: &str| {
            let mut config = AudioConfig::data2vec();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        };
        check(|c| c.channels = 0, "channels = 0");
        check(|c| c.positional.groups = 0, "positional.groups = 0");
        let layers = |layers: Vec<ConvLayer>| AudioFeatures::Waveform { layers, gradient_multiplier: 1.0 };
        let mut config = AudioConfig { features: layers(Vec::new()), ..AudioConfig::data2vec() };
        assert!(config.validate().unwrap_err().to_string().contains("at least one convolution"));
        config.features = layers(vec![ConvLayer { width: 8, kernel: 2, stride: 3 }]);
        assert!(config.validate().unwrap_err().to_string().contains("kernel 2 with stride 3"));
        config.features = AudioFeatures::LogMel { bands: 129, window: 256, hop: 80, stacked: 1 };
        assert!(config.validate().unwrap_err().to_string().contains("129 with a window of 256"));
    }
}

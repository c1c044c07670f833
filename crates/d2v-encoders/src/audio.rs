//! Sound as frames (spec 2.2).

use crate::conv_stack::ConvStack;
use crate::hide::{clear_padding, hide};
use crate::log_mel::LogMel;
use crate::positional_conv::PositionalConvs;
use crate::{AudioConfig, AudioFeatures, Error, Hidden, ModalityEncoder, Result};
use d2v_torch::fused::{LinearMap, linear};
use d2v_torch::{Init, Scope};
use d2v_transformer::{LayerNorm, Pass, Tokens};
use tch::Tensor;

/// The front end of speech: convolutions (or mel bands), a projection, positional convolutions.
#[derive(Debug)]
pub struct AudioEncoder {
    config: AudioConfig,
    width: i64,
    features: Features,
    norm: LayerNorm,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask_token: Tensor,
    positional: PositionalConvs,
}

#[derive(Debug)]
enum Features {
    Waveform { stack: ConvStack, gradient_multiplier: f64 },
    LogMel(LogMel),
}

impl AudioEncoder {
    /// Registers `conv_layers.I.*`, `norm`, `proj`, `mask_token` and `pos_conv.I`. Convolutions and projection start as
    /// the reference's do, whatever the Transformer's scheme (spec 2.2).
    ///
    /// # Errors
    /// If the configuration is invalid or a name is taken.
    pub fn new(scope: &Scope<'_>, config: &AudioConfig, width: i64) -> Result<AudioEncoder> {
        config.validate()?;
        let features = match &config.features {
            AudioFeatures::Waveform { layers, gradient_multiplier } => Features::Waveform {
                stack: ConvStack::new(&scope.sub("conv_layers"), config.channels, layers, config.norm_eps)?,
                gradient_multiplier: *gradient_multiplier,
            },
            AudioFeatures::LogMel { bands, window, hop, stacked } => {
                let place = (scope.kind(), scope.device());
                Features::LogMel(LogMel::new((*bands, *window, *hop, *stacked), config.sample_rate_hz, place))
            }
        };
        let fan_in = config.feature_width();
        let proj = scope.sub("proj");
        Ok(AudioEncoder {
            features,
            norm: LayerNorm::new(&scope.sub("norm"), fan_in, config.norm_eps)?,
            proj_weight: proj.param("weight", &[width, fan_in], Init::default_for(fan_in))?,
            proj_bias: proj.param("bias", &[width], Init::default_for(fan_in))?,
            mask_token: scope.param("mask_token", &[width], Init::Uniform { low: 0.0, high: 1.0 })?,
            positional: PositionalConvs::new(
                &scope.sub("pos_conv"),
                config.positional,
                width,
                config.norm_eps,
            )?,
            config: config.clone(),
            width,
        })
    }
}

impl ModalityEncoder for AudioEncoder {
    /// `[B, C, T]` to frames `[B, L, D]`.
    fn features(&self, sound_bct: &Tensor) -> Result<Tensor> {
        match sound_bct.size()[..] {
            [_, channels, samples] if channels == self.config.channels && self.config.frames(samples) > 0 => {
            }
            ref got => {
                let (channels, least) = (self.config.channels, self.config.receptive_field());
                return Err(Error::Shape {
                    what: "sound",
                    expected: format!("[B, {channels}, T] with T at least {least}"),
                    got: got.to_vec(),
                });
            }
        }
        let frames_blc = match &self.features {
            Features::Waveform { stack, gradient_multiplier } => {
                let frames = stack.forward(sound_bct)?;
                if *gradient_multiplier == 1.0 {
                    frames
                } else {
                    &frames * *gradient_multiplier + frames.detach() * (1.0 - gradient_multiplier)
                }
            }
            Features::LogMel(mel) => mel.forward(sound_bct),
        };
        let map = LinearMap { weight: &self.proj_weight, bias: &self.proj_bias };
        Ok(linear(&self.norm.forward(&frames_blc), map)?)
    }

    fn tokens(
        &self,
        features: &Tensor,
        hidden: Option<Hidden<'_>>,
        padding_bl: Option<&Tensor>,
        _pass: Pass,
    ) -> Result<Tokens> {
        let x_bld = clear_padding(hide(features, self.width, &self.mask_token, hidden)?, padding_bl);
        let positions_bld = self.positional.forward(&x_bld);
        let padding_bl = padding_bl.map(Tensor::shallow_clone);
        Ok(Tokens { padding_bl, ..Tokens::plain(x_bld + positions_bld) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConvLayer, PositionalConv};
    use d2v_torch::ParamStore;
    use d2v_torch::seed::seeded;
    use tch::{Device, Kind};

    const HOST: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn config(gradient_multiplier: f64) -> AudioConfig {
        let layers =
            [(10, 5), (3, 2), (2, 2)].map(|(kernel, stride)| ConvLayer { width: 12, kernel, stride });
        AudioConfig {
            features: AudioFeatures::Waveform { layers: layers.to_vec(), gradient_multiplier },
            positional: PositionalConv { layers: 2, kernel: 4, groups: 4 },
            ..AudioConfig::data2vec()
        }
    }

    fn encoder(gradient_multiplier: f64) -> (ParamStore, AudioEncoder) {
        let store = ParamStore::new(Device::Cpu, Kind::Double, 1);
        let encoder = AudioEncoder::new(&store.root(), &config(gradient_multiplier), 16).unwrap();
        (store, encoder)
    }

    fn sound(samples: i64) -> Tensor {
        seeded(&[9], || Tensor::randn([2, 1, samples], HOST))
    }

    #[test]
    fn padding_behind_a_sound_changes_nothing_in_front_of_it() {
        let (_store, encoder) = encoder(1.0);
        let short = sound(400);
        let frames = config(1.0).frames(400);
        let long = Tensor::cat(&[&short, &Tensor::zeros([2, 1, 200], HOST)], 2);
        let all = config(1.0).frames(600);
        let padding_bl = Tensor::arange(all, (Kind::Int64, Device::Cpu)).ge(frames).expand([2, all], false);
        let of = |sound: &Tensor, padding: Option<&Tensor>| {
            let features = encoder.features(sound).unwrap();
            encoder.tokens(&features, None, padding, Pass::Eval).unwrap().tokens_bld.narrow(1, 0, frames)
        };
        // The convolution of a short sound sees zeros behind its end: just what padding shows it in the first of the
        // positional layers. In later ones the two differ near the end, as in the reference.
        let reach = 2 * 4;
        let gap = (of(&short, None) - of(&long, Some(&padding_bl))).narrow(1, 0, frames - reach).abs().max();
        assert!(gap.double_value(&[]) < 1e-12, "{gap:?}");
    }

    #[test]
    fn the_multiplier_scales_the_gradient_of_the_convolutions_alone() {
        let gradient = |multiplier: f64| {
            let (store, encoder) = encoder(multiplier);
            let features = encoder.features(&sound(400)).unwrap();
            features.square().sum(Kind::Double).backward();
            let parameters = store.into_parameters();
            ["conv_layers.0.conv.weight", "norm.weight"]
                .map(|name| parameters.get(name).unwrap().grad().norm().double_value(&[]))
        };
        let ([full, norm], [tenth, same]) = (gradient(1.0), gradient(0.1));
        assert!((tenth / full - 0.1).abs() < 1e-12 && norm == same, "{full} {tenth} {norm} {same}");
    }

    #[test]
    fn too_short_a_sound_is_an_error_that_says_how_long() {
        let (_store, encoder) = encoder(1.0);
        let least = config(1.0).receptive_field();
        assert!(encoder.features(&sound(least)).is_ok());
        let error = encoder.features(&sound(least - 1)).unwrap_err().to_string();
        assert!(error.contains(&format!("at least {least}")), "{error}");
    }
}

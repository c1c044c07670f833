//! Whether the data of a configuration makes what its front end takes.

use crate::Result;
use crate::config::{RunConfig, setting};
use d2v_data::Transform;
use d2v_encoders::{AudioConfig, EncoderConfig};

impl RunConfig {
    /// What the front end takes must be what the data makes.
    pub(crate) fn check_input(&self) -> Result<()> {
        match (&self.model.encoder, &self.data.transform) {
            (EncoderConfig::Image(image), Transform::Image(transform)) => {
                if i64::from(transform.size_px()) != image.image_size {
                    let rule = format!("must equal model.encoder.image_size = {}", image.image_size);
                    return Err(setting("data.transform.geometry.size_px", &transform.size_px(), &rule));
                }
                Ok(())
            }
            (EncoderConfig::Audio(audio), Transform::Audio(_)) => {
                if self.data.path.is_none() {
                    return self.check_built_in_sound(audio);
                }
                let data = &self.data.audio;
                data.validate()?;
                if data.sample_rate_hz != audio.sample_rate_hz {
                    let rule = format!("must equal model.encoder.sample_rate_hz = {}", audio.sample_rate_hz);
                    return Err(setting("data.audio.sample_rate_hz", &data.sample_rate_hz, &rule));
                }
                if data.channels as i64 != audio.channels {
                    let rule = format!("must equal model.encoder.channels = {}", audio.channels);
                    return Err(setting("data.audio.channels", &data.channels, &rule));
                }
                check_shortest("data.audio.min_seconds", data.min_seconds, audio)
            }
            (EncoderConfig::Text(text), Transform::Text(_)) => {
                let (key, longest) = match self.data.path {
                    Some(_) => ("data.text.max_tokens", self.data.text.max_tokens),
                    None => ("data.synthetic_text.max_tokens", self.data.synthetic_text.max_tokens),
                };
                if longest as i64 > text.max_tokens {
                    let rule = format!("must be at most model.encoder.max_tokens = {}", text.max_tokens);
                    return Err(setting(key, &longest, &rule));
                }
                Ok(self.data.text.validate()?)
            }
            (encoder, _) => {
                let rule = format!("must be that of model.encoder: {}", encoder.modality());
                Err(setting("data.transform.modality", &"another", &rule))
            }
        }
    }

    fn check_built_in_sound(&self, audio: &AudioConfig) -> Result<()> {
        let rate = self.data.synthetic_audio.sample_rate_hz;
        if rate != audio.sample_rate_hz {
            let rule = format!("must equal model.encoder.sample_rate_hz = {}", audio.sample_rate_hz);
            return Err(setting("data.synthetic_audio.sample_rate_hz", &rate, &rule));
        }
        if audio.channels != 1 {
            let rule = "must be 1 for the built-in sounds; give --data for sound of several channels";
            return Err(setting("model.encoder.channels", &audio.channels, rule));
        }
        let least = self.data.synthetic_audio.min_seconds;
        check_shortest("data.synthetic_audio.min_seconds", least, audio)
    }
}

/// The shortest sound must make two frames: one to hide and one to show, and what instance norm varies over.
fn check_shortest(key: &str, seconds: f64, audio: &AudioConfig) -> Result<()> {
    let (rate, samples) = (f64::from(audio.sample_rate_hz), audio.receptive_field() + audio.hop());
    if seconds * rate < samples as f64 {
        let rule = format!(
            "must be at least {:.4} s, the receptive field and one hop of model.encoder, so that every sound has two \
             frames: one to hide, one to show",
            samples as f64 / rate
        );
        return Err(setting(key, &seconds, &rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::recipe::RecipeArgs;
    use crate::config::{RunConfig, positions};
    use d2v_masking::Positions;

    fn speech(settings: &[String]) -> RunConfig {
        let overrides = settings.iter().map(|setting| setting.parse().unwrap()).collect();
        RecipeArgs { overrides, ..RecipeArgs::default() }.load_for("audio").unwrap()
    }

    #[test]
    fn every_sound_has_two_frames() {
        // 25 ms and a hop of 20 ms at 16 kHz.
        let (field, both) = (400.0 / 16_000.0, 720.0 / 16_000.0);
        let config = |seconds: f64| {
            speech(&["data.path=\"sounds\"".into(), format!("data.audio.min_seconds={seconds}")])
        };
        config(both).validate().unwrap();
        let frames = |samples| positions(&config(both).model.encoder, samples);
        assert_eq!((frames(720), frames(719)), (Positions::Line { len: 2 }, Positions::Line { len: 1 }));
        for seconds in [0.0, field, both - 1e-4] {
            let error = config(seconds).validate().unwrap_err().to_string();
            assert!(error.contains("data.audio.min_seconds") && error.contains("0.0450 s"), "{error}");
        }
    }

    #[test]
    fn built_in_sounds_are_held_to_the_same() {
        // A front end that sees a second and more at once.
        let wide = "model.encoder.features={ kind = \"log-mel\", bands = 40, window = 400, hop = 160, stacked = 90 }";
        let error = speech(&[wide.into()]).validate().unwrap_err().to_string();
        assert!(error.contains("data.synthetic_audio.min_seconds"), "{error}");
    }
}

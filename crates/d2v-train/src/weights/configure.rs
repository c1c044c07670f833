//! A description as a network's settings: the inverse of [`describe`](super::describe()).

use super::Error;
use super::describe::SPEECH_EPS;
use crate::Result;
use crate::network::ModelConfig;
use d2v_encoders::{
    AudioConfig, AudioFeatures, ConvLayer, EncoderConfig, ImageConfig, ImagePosition, PositionalConv,
    TextConfig, TokenIds,
};
use d2v_transformer::{BlockOrder, HeadConfig, InitScheme, QkvBias, TransformerConfig};
use d2v_weights::Description;
use d2v_weights::description::{
    AudioDescription, TextDescription, TransformerDescription, VisionDescription,
};

/// What a network needs beyond its description.
#[derive(Debug, Clone, PartialEq)]
pub struct Beyond {
    /// The prediction head.
    pub head: HeadConfig,
    /// How parameters start that the weights lack.
    pub init: InitScheme,
    /// Samples per second; for speech.
    pub sample_rate_hz: u32,
    /// The tokenizer's ids; needed for text.
    pub ids: Option<TokenIds>,
}

/// The settings of a described network, and in sentences what of its training has no place in them.
///
/// # Errors
/// [`Error::NotHere`] naming the first field of `config.json` that our networks cannot express.
pub fn configure(description: &Description, beyond: Beyond) -> Result<(ModelConfig, Vec<String>)> {
    let mut transformer = sizes(description.transformer(), beyond.init);
    let mut notes = Vec::new();
    let encoder = match description {
        Description::Vision(vision) => EncoderConfig::Image(image(vision, &mut transformer)?),
        Description::Audio(audio) => {
            if audio.feature_dropout != 0.0 {
                let rate = audio.feature_dropout;
                notes.push(format!("feat_proj_dropout = {rate} is left out: training here has none there"));
            }
            EncoderConfig::Audio(speech(audio, beyond.sample_rate_hz, &mut transformer)?)
        }
        Description::Text(text) => EncoderConfig::Text(words(text, beyond.ids)?),
    };
    let model = ModelConfig { encoder, transformer, head: beyond.head };
    model.encoder.validate()?;
    model.transformer.validate()?;
    Ok((model, notes))
}

/// A post-norm stack without what only one modality has.
fn sizes(description: &TransformerDescription, init: InitScheme) -> TransformerConfig {
    TransformerConfig {
        width: description.width as i64,
        depth: description.depth,
        heads: description.heads as i64,
        ffn_width: description.feed_forward as i64,
        order: BlockOrder::PostNorm,
        input_norm: false,
        // Those classes use the same rate on what enters the first block.
        input_dropout: description.dropout,
        norm_eps: description.norm_eps,
        qkv_bias: QkvBias::Full,
        layer_scale: None,
        dropout: description.dropout,
        attention_dropout: description.attention_dropout,
        activation_dropout: 0.0,
        drop_path: 0.0,
        layer_drop: 0.0,
        init,
    }
}

fn image(vision: &VisionDescription, transformer: &mut TransformerConfig) -> Result<ImageConfig> {
    if !vision.final_norm {
        let rule = "with mean pooling the last norm belongs to a classifier; use the weights from before fine-tuning";
        return refuse("use_mean_pooling", "true", rule);
    }
    if vision.channels != 3 {
        return refuse("num_channels", &vision.channels.to_string(), "pictures are read as 3 channels");
    }
    transformer.order = BlockOrder::PreNorm;
    transformer.qkv_bias = QkvBias::QueryValue;
    transformer.layer_scale = Some(vision.layer_scale);
    transformer.drop_path = vision.drop_path;
    Ok(ImageConfig {
        image_size: vision.image_size as i64,
        patch_size: vision.patch_size as i64,
        channels: vision.channels as i64,
        position: ImagePosition::RelativeBias {},
        class_token: true,
    })
}

fn speech(
    audio: &AudioDescription,
    sample_rate_hz: u32,
    transformer: &mut TransformerConfig,
) -> Result<AudioConfig> {
    let eps = audio.transformer.norm_eps;
    if eps != SPEECH_EPS {
        let rule = format!("the norms of its convolutions have {SPEECH_EPS:e}, and here all share one");
        return refuse("layer_norm_eps", &format!("{eps:e}"), &rule);
    }
    transformer.input_norm = true;
    transformer.activation_dropout = audio.activation_dropout;
    transformer.layer_drop = audio.layer_drop;
    let layers = audio
        .convolutions
        .iter()
        .map(|conv| ConvLayer {
            width: conv.channels as i64,
            kernel: conv.kernel as i64,
            stride: conv.stride as i64,
        })
        .collect();
    Ok(AudioConfig {
        sample_rate_hz,
        channels: 1,
        features: AudioFeatures::Waveform { layers, gradient_multiplier: 1.0 },
        positional: PositionalConv {
            layers: audio.positional_convs,
            kernel: audio.positional_kernel as i64,
            groups: audio.positional_groups as i64,
        },
        norm_eps: eps,
    })
}

fn words(text: &TextDescription, ids: Option<TokenIds>) -> Result<TextConfig> {
    let norm_eps = text.transformer.norm_eps;
    let config = TextConfig { max_tokens: text.longest() as i64, norm_eps, ids };
    let ids = config.ids()?;
    let of_tokenizer = [
        ("pad_token_id", text.padding_id, Some(&ids.pad)),
        ("bos_token_id", text.begin_id, ids.special.first()),
        ("eos_token_id", text.end_id, ids.special.get(2)),
    ];
    for (field, id, own) in of_tokenizer {
        if own != Some(&(id as i64)) {
            let own = own.map_or("none".into(), ToString::to_string);
            return refuse(field, &id.to_string(), &format!("the tokenizer has {own}"));
        }
    }
    if ids.vocabulary != text.vocabulary as i64 {
        let rule = format!("the ids reach to {}", ids.vocabulary);
        return refuse("vocab_size", &text.vocabulary.to_string(), &rule);
    }
    Ok(config)
}

fn refuse<T>(field: &'static str, value: &str, rule: &str) -> Result<T> {
    Err(Error::NotHere { field, value: value.into(), rule: rule.into() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_weights::description::Convolution;
    use d2v_weights::names::BiasTable;

    fn transformer(norm_eps: f64) -> TransformerDescription {
        TransformerDescription {
            width: 8,
            depth: 2,
            heads: 2,
            feed_forward: 16,
            norm_eps,
            dropout: 0.1,
            attention_dropout: 0.0,
        }
    }

    fn beyond(ids: Option<TokenIds>) -> Beyond {
        Beyond { head: HeadConfig::Linear {}, init: InitScheme::Bert, sample_rate_hz: 16_000, ids }
    }

    #[track_caller]
    fn check_refused(description: &Description, ids: Option<TokenIds>, says: &str) {
        let error = configure(description, beyond(ids)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn fields_that_have_no_counterpart_are_named() {
        let vision = VisionDescription {
            transformer: transformer(1e-6),
            image_size: 8,
            patch_size: 4,
            channels: 3,
            bias_table: BiasTable::Shared,
            mask_token: true,
            final_norm: true,
            drop_path: 0.0,
            layer_scale: 0.1,
        };
        check_refused(
            &Description::Vision(VisionDescription { final_norm: false, ..vision.clone() }),
            None,
            "`use_mean_pooling` is true",
        );
        check_refused(
            &Description::Vision(VisionDescription { channels: 4, ..vision }),
            None,
            "`num_channels` is 4",
        );
        let audio = |norm_eps: f64, kernel: usize| {
            Description::Audio(AudioDescription {
                transformer: transformer(norm_eps),
                convolutions: vec![Convolution { channels: 4, kernel, stride: 5 }],
                positional_convs: 1,
                positional_kernel: 3,
                positional_groups: 2,
                mask_token: true,
                activation_dropout: 0.0,
                feature_dropout: 0.5,
                layer_drop: 0.0,
            })
        };
        check_refused(&audio(1e-6, 10), None, "`layer_norm_eps` is 1e-6");
        check_refused(&audio(1e-5, 2), None, "a stride above its kernel");
        let (_, notes) = configure(&audio(1e-5, 10), beyond(None)).unwrap();
        assert!(notes[0].contains("feat_proj_dropout = 0.5"), "{notes:?}");
    }

    #[test]
    fn ids_must_be_those_of_the_tokenizer() {
        let text = Description::Text(TextDescription {
            transformer: transformer(1e-5),
            vocabulary: 12,
            position_rows: 10,
            padding_id: 1,
            begin_id: 0,
            end_id: 2,
        });
        let ids = |vocabulary, special: &[i64]| {
            Some(TokenIds { vocabulary, pad: special[1], mask: 11, special: special.to_vec() })
        };
        assert!(configure(&text, beyond(ids(12, &[0, 1, 2, 3]))).is_ok());
        check_refused(&text, ids(12, &[0, 3, 2, 1]), "`pad_token_id` is 1; the tokenizer has 3");
        check_refused(&text, ids(12, &[5, 1, 2, 3]), "`bos_token_id` is 0; the tokenizer has 5");
        check_refused(&text, ids(13, &[0, 1, 2, 3]), "`vocab_size` is 12; the ids reach to 13");
        check_refused(&text, None, "ids = missing");
    }
}

//! A network's settings as a description that transformers' classes can express.
//!
//! What changes the results of an evaluation must be expressible, or is an error that names it. Rates that act in training
//! only are carried over as far as those classes have them, and told where they have not.

use super::Error;
use crate::Result;
use crate::network::ModelConfig;
use d2v_encoders::{AudioConfig, AudioFeatures, EncoderConfig, ImageConfig, ImagePosition, TextConfig};
use d2v_transformer::{BlockOrder, QkvBias, TransformerConfig};
use d2v_weights::Description;
use d2v_weights::description::{
    AudioDescription, Convolution, TextDescription, TransformerDescription, VisionDescription,
};
use d2v_weights::names::BiasTable;

/// The eps of the speech class's convolutions, which no field of its configuration sets.
pub(super) const SPEECH_EPS: f64 = 1e-5;

/// A network as a description.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The network.
    pub description: Description,
    /// Settings of training that do not go along, one sentence each.
    pub notes: Vec<String>,
}

/// Describes a network for transformers.
///
/// # Errors
/// [`Error::NotThere`] naming the first setting that its classes cannot express.
pub fn describe(model: &ModelConfig) -> Result<Described> {
    model.encoder.validate()?;
    model.transformer.validate()?;
    let description = match &model.encoder {
        EncoderConfig::Image(image) => Description::Vision(vision(image, &model.transformer)?),
        EncoderConfig::Audio(audio) => Description::Audio(speech(audio, &model.transformer)?),
        EncoderConfig::Text(text) => Description::Text(words(text, &model.transformer)?),
    };
    Ok(Described { description, notes: left_out(model) })
}

fn vision(image: &ImageConfig, transformer: &TransformerConfig) -> Result<VisionDescription> {
    if let ImagePosition::SinCos { .. } = image.position {
        return refuse(
            "model.encoder.position.kind",
            "sin-cos",
            "its image class has \"relative-bias\" or none that data2vec uses",
        );
    }
    require("model.encoder.class_token", &image.class_token, &true)?;
    blocks(transformer, BlockOrder::PreNorm, false, QkvBias::QueryValue)?;
    let Some(layer_scale) = transformer.layer_scale.filter(|&start| start > 0.0) else {
        return refuse("model.transformer.layer_scale", "absent", "its image class has one above 0");
    };
    Ok(VisionDescription {
        transformer: sizes(transformer),
        image_size: image.image_size as usize,
        patch_size: image.patch_size as usize,
        channels: image.channels as usize,
        bias_table: BiasTable::Shared,
        mask_token: true,
        final_norm: true,
        drop_path: transformer.drop_path,
        layer_scale,
    })
}

fn speech(audio: &AudioConfig, transformer: &TransformerConfig) -> Result<AudioDescription> {
    let AudioFeatures::Waveform { layers, .. } = &audio.features else {
        return refuse("model.encoder.features.kind", "log-mel", "its speech class has \"waveform\" only");
    };
    require("model.encoder.channels", &audio.channels, &1)?;
    require("model.encoder.norm_eps", &audio.norm_eps, &SPEECH_EPS)?;
    require("model.transformer.norm_eps", &transformer.norm_eps, &SPEECH_EPS)?;
    blocks(transformer, BlockOrder::PostNorm, true, QkvBias::Full)?;
    require("model.transformer.layer_scale", &transformer.layer_scale.is_some(), &false)?;
    let convolutions = layers
        .iter()
        .map(|layer| Convolution {
            channels: layer.width as usize,
            kernel: layer.kernel as usize,
            stride: layer.stride as usize,
        })
        .collect();
    Ok(AudioDescription {
        transformer: sizes(transformer),
        convolutions,
        positional_convs: audio.positional.layers,
        positional_kernel: audio.positional.kernel as usize,
        positional_groups: audio.positional.groups as usize,
        mask_token: true,
        activation_dropout: transformer.activation_dropout,
        feature_dropout: 0.0,
        layer_drop: transformer.layer_drop,
    })
}

fn words(text: &TextConfig, transformer: &TransformerConfig) -> Result<TextDescription> {
    require("model.encoder.norm_eps", &text.norm_eps, &transformer.norm_eps)?;
    blocks(transformer, BlockOrder::PostNorm, false, QkvBias::Full)?;
    require("model.transformer.layer_scale", &transformer.layer_scale.is_some(), &false)?;
    let ids = text.ids()?;
    let (begin, end) = match ids.special[..] {
        [begin, pad, end, ..] if pad == ids.pad => (begin, end),
        ref other => {
            let rule = "must begin with those of start, padding and end, in this order";
            return refuse("model.encoder.ids.special", &format!("{other:?}"), rule);
        }
    };
    Ok(TextDescription {
        transformer: sizes(transformer),
        vocabulary: ids.vocabulary as usize,
        position_rows: (text.max_tokens + ids.pad + 1) as usize,
        padding_id: ids.pad as usize,
        begin_id: begin as usize,
        end_id: end as usize,
    })
}

/// Checks what is fixed for each class.
fn blocks(config: &TransformerConfig, order: BlockOrder, input_norm: bool, bias: QkvBias) -> Result<()> {
    require("model.transformer.order", &name(&config.order), &name(&order))?;
    require("model.transformer.input_norm", &config.input_norm, &input_norm)?;
    require("model.transformer.qkv_bias", &name(&config.qkv_bias), &name(&bias))
}

/// A choice as it is called in files.
fn name(choice: &impl serde::Serialize) -> String {
    serde_json::to_string(choice).unwrap_or_default()
}

fn sizes(config: &TransformerConfig) -> TransformerDescription {
    TransformerDescription {
        width: config.width as usize,
        depth: config.depth,
        heads: config.heads as usize,
        feed_forward: config.ffn_width as usize,
        norm_eps: config.norm_eps,
        dropout: config.dropout,
        attention_dropout: config.attention_dropout,
    }
}

/// Rates that act in training only and that the class of this modality does not have.
fn left_out(model: &ModelConfig) -> Vec<String> {
    let TransformerConfig { input_dropout, activation_dropout, drop_path, layer_drop, dropout, .. } =
        model.transformer;
    let of_class = match &model.encoder {
        EncoderConfig::Image(_) => ["drop_path", ""],
        EncoderConfig::Audio(_) => ["activation_dropout", "layer_drop"],
        EncoderConfig::Text(_) => ["", ""],
    };
    let rates =
        [("activation_dropout", activation_dropout), ("drop_path", drop_path), ("layer_drop", layer_drop)];
    let mut notes: Vec<String> = rates
        .into_iter()
        .filter(|(key, rate)| *rate != 0.0 && !of_class.contains(key))
        .map(|(key, rate)| format!("model.transformer.{key} = {rate} is left out: the class has none"))
        .collect();
    if input_dropout != dropout {
        notes.push(format!(
            "model.transformer.input_dropout = {input_dropout} is left out: the class uses dropout = {dropout} there \
             too"
        ));
    }
    notes
}

fn require<T: PartialEq + ToString + ?Sized>(key: &str, value: &T, wanted: &T) -> Result<()> {
    if value == wanted {
        return Ok(());
    }
    refuse(key, &value.to_string(), &format!("its class has {}", wanted.to_string()))
}

fn refuse<T>(key: &str, value: &str, rule: &str) -> Result<T> {
    Err(Error::NotThere { key: key.into(), value: value.into(), rule: rule.into() }.into())
}

#[cfg(test)]
mod tests {
    use super::super::configure::{Beyond, configure};
    use super::*;
    use d2v_encoders::TokenIds;
    use d2v_transformer::{HeadConfig, InitScheme, Size};

    /// The published Base networks.
    fn models() -> [ModelConfig; 3] {
        let sequence = TransformerConfig::sequence(Size::Base);
        let text = TransformerConfig { dropout: 0.1, input_dropout: 0.1, ..sequence.clone() };
        let speech = TransformerConfig { input_norm: true, layer_drop: 0.05, ..sequence };
        let head = HeadConfig::Linear {};
        [
            (EncoderConfig::Image(ImageConfig::vit16()), TransformerConfig::image(Size::Base)),
            (EncoderConfig::Audio(AudioConfig::data2vec()), speech),
            (EncoderConfig::Text(TextConfig::roberta()), text),
        ]
        .map(|(encoder, transformer)| ModelConfig { encoder, transformer, head })
    }

    fn beyond(model: &ModelConfig) -> Beyond {
        let ids: Option<TokenIds> = match &model.encoder {
            EncoderConfig::Text(text) => text.ids.clone(),
            _ => None,
        };
        Beyond { head: model.head, init: model.transformer.init, sample_rate_hz: 16_000, ids }
    }

    #[test]
    fn the_published_networks_survive_both_ways() {
        for model in models() {
            let Described { description, notes } = describe(&model).unwrap();
            assert_eq!(notes, [""; 0]);
            let (again, notes) = configure(&description, beyond(&model)).unwrap();
            assert_eq!((again, notes.len()), (model, 0));
        }
    }

    #[test]
    fn parameters_have_the_described_names_and_shapes() {
        for mut model in models() {
            (model.transformer.width, model.transformer.ffn_width, model.transformer.depth) = (48, 96, 2);
            let network =
                crate::network::Network::new(&model, tch::Device::Cpu, tch::Kind::Float, 0).unwrap();
            let shapes = describe(&model).unwrap().description.shapes();
            let own: d2v_weights::description::Shapes = network
                .parameters
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.size().iter().map(|&n| n as usize).collect()))
                .collect();
            assert_eq!(own, shapes);
        }
    }

    #[track_caller]
    fn check_refused(model: usize, change: impl Fn(&mut ModelConfig), says: &str) {
        let mut model = models()[model].clone();
        change(&mut model);
        let error = describe(&model).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn what_the_classes_lack_is_named() {
        let image = |change: fn(&mut ImageConfig)| {
            move |model: &mut ModelConfig| match &mut model.encoder {
                EncoderConfig::Image(image) => change(image),
                _ => panic!("no image"),
            }
        };
        let audio = |change: fn(&mut AudioConfig)| {
            move |model: &mut ModelConfig| match &mut model.encoder {
                EncoderConfig::Audio(audio) => change(audio),
                _ => panic!("no audio"),
            }
        };
        check_refused(
            0,
            image(|image| image.position = ImagePosition::SinCos { scale: 1.0 }),
            "position.kind = sin-cos",
        );
        check_refused(0, image(|image| image.class_token = false), "class_token = false");
        check_refused(0, |model| model.transformer.qkv_bias = QkvBias::Full, "qkv_bias = \"full\"");
        check_refused(0, |model| model.transformer.layer_scale = None, "layer_scale = absent");
        check_refused(1, |model| model.transformer.order = BlockOrder::PreNorm, "order = \"pre-norm\"");
        check_refused(1, |model| model.transformer.input_norm = false, "input_norm = false");
        check_refused(1, audio(|audio| audio.channels = 2), "channels = 2");
        check_refused(1, audio(|audio| audio.norm_eps = 1e-6), "encoder.norm_eps = 0.000001");
        let mel = AudioFeatures::LogMel { bands: 40, window: 400, hop: 160, stacked: 2 };
        check_refused(
            1,
            move |model| {
                if let EncoderConfig::Audio(audio) = &mut model.encoder {
                    audio.features = mel.clone();
                }
            },
            "features.kind = log-mel",
        );
        check_refused(2, |model| model.transformer.norm_eps = 1e-6, "model.encoder.norm_eps");
        check_refused(2, |model| model.transformer.input_norm = true, "input_norm = true");
    }

    #[test]
    fn rates_of_training_that_are_left_out_are_told() {
        let mut model = models()[2].clone();
        model.transformer.layer_drop = 0.25;
        model.transformer.input_dropout = 0.5;
        let notes = describe(&model).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("layer_drop = 0.25")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("input_dropout = 0.5")), "{notes:?}");
        assert_eq!(model.transformer.init, InitScheme::Bert);
    }
}

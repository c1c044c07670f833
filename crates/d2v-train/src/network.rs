//! Student and teacher: the same network, with and without a prediction head.

use crate::Result;
use d2v_encoders::{AudioEncoder, EncoderConfig, ImageEncoder, ModalityEncoder, TextEncoder};
use d2v_torch::{ParamStore, Parameters, Scope};
use d2v_transformer::{HeadConfig, InitScheme, PredictionHead, Transformer, TransformerConfig};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// Name prefix of the front end's parameters.
pub const FRONT_END: &str = "front_end.";
/// Name prefix of what a front end learns of positions apart from the features, where it does.
pub const POSITIONS: &str = "front_end.pos";
/// Name prefix of the Transformer's parameters.
pub const TRANSFORMER: &str = "transformer.";
/// Name prefix of the prediction head's parameters; the teacher has none.
pub const HEAD: &str = "head.";

/// What a network is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The front end.
    pub encoder: EncoderConfig,
    /// The Transformer.
    pub transformer: TransformerConfig,
    /// The student's prediction head.
    pub head: HeadConfig,
}

/// Front end and Transformer.
pub struct Network {
    /// Raw input to tokens.
    pub front_end: Box<dyn ModalityEncoder>,
    /// Tokens to layers.
    pub transformer: Transformer,
    /// All parameters of both, under [`FRONT_END`] and [`TRANSFORMER`].
    pub parameters: Parameters,
}

/// A network with a prediction head.
pub struct Student {
    /// Front end and Transformer; its `parameters` hold the head's too.
    pub network: Network,
    /// Last layer to predictions.
    pub head: PredictionHead,
}

impl Network {
    /// A network with the start values of `seed`; parameters record no gradient (a teacher, an evaluation).
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn new(config: &ModelConfig, device: Device, kind: Kind, seed: u64) -> Result<Network> {
        let store = ParamStore::new(device, kind, seed);
        let (front_end, transformer) = build(&store.root(), config)?;
        let parameters = store.into_parameters();
        parameters.set_requires_grad(false);
        Ok(Network { front_end, transformer, parameters })
    }
}

impl Student {
    /// A student with the start values of `seed`; every parameter records gradients.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn new(config: &ModelConfig, device: Device, kind: Kind, seed: u64) -> Result<Student> {
        let store = ParamStore::new(device, kind, seed);
        let root = store.root();
        let (front_end, transformer) = build(&root, config)?;
        let TransformerConfig { width, init, .. } = config.transformer;
        // The reference leaves the head of speech at libtorch's start values, and no other (spec 2.2).
        let init = match (&config.encoder, init) {
            (EncoderConfig::Audio(_), InitScheme::Bert) => InitScheme::Uniform,
            _ => init,
        };
        let head = PredictionHead::new(&root.sub("head"), width, config.head, init)?;
        Ok(Student { network: Network { front_end, transformer, parameters: store.into_parameters() }, head })
    }
}

fn build(root: &Scope<'_>, config: &ModelConfig) -> Result<(Box<dyn ModalityEncoder>, Transformer)> {
    let TransformerConfig { width, heads, init, .. } = config.transformer;
    let scope = root.sub("front_end");
    let front_end: Box<dyn ModalityEncoder> = match &config.encoder {
        EncoderConfig::Image(image) => Box::new(ImageEncoder::new(&scope, image, width, heads, init)?),
        EncoderConfig::Audio(audio) => Box::new(AudioEncoder::new(&scope, audio, width)?),
        EncoderConfig::Text(text) => Box::new(TextEncoder::new(&scope, text, width, init)?),
    };
    Ok((front_end, Transformer::new(&root.sub("transformer"), &config.transformer)?))
}

//! The three models of transformers 4.57.1: their folders become our networks as `d2v import` makes them, and give the
//! hidden states that the library gave, ragged batches included; written again they are the same bytes. And the weights
//! of fairseq and of the original image code, whose golden cases the other files of this folder hold us to, through the
//! tables of names that `d2v import` uses.

use crate::support::Case;
use d2v_encoders::{EncoderConfig, Hidden, TokenIds};
use d2v_torch::Parameters;
use d2v_train::network::{ModelConfig, Network};
use d2v_train::weights::{Beyond, adopt, configure, describe, parameters, tensors};
use d2v_transformer::{HeadConfig, InitScheme, Pass};
use d2v_weights::names::{BiasTable, Source, to_ours};
use d2v_weights::{Description, HfModel, Tensors, read_safetensors};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor, no_grad};

/// Largest difference of a hidden state in f32, where the reference's own rounding is not larger.
const TOLERANCE: f64 = 1e-5;

fn folder(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case)
}

/// A model of theirs as a network of ours.
struct Imported {
    name: &'static str,
    case: Case,
    kind: Kind,
    config: ModelConfig,
    network: Network,
    /// Parameters that the folder does not have.
    fresh: Vec<String>,
}

impl Imported {
    fn new(name: &'static str, kind: Kind) -> Imported {
        let (model, _) = HfModel::read(&folder(name)).unwrap();
        let ids = match &model.description {
            Description::Text(_) => {
                Some(TokenIds { vocabulary: 99, pad: 1, mask: 98, special: vec![0, 1, 2, 3] })
            }
            _ => None,
        };
        let head = HeadConfig::Linear {};
        let beyond = Beyond { head, init: InitScheme::Bert, sample_rate_hz: 16_000, ids };
        let (config, _) = configure(&model.description, beyond).unwrap();
        let network = Network::new(&config, Device::Cpu, kind, 0).unwrap();
        let fresh = adopt(&network.parameters, &parameters(&model.tensors).unwrap(), name).unwrap();
        Imported { name, case: Case::load(name), kind, config, network, fresh }
    }

    /// Argument of a call, if it was given.
    fn argument(&self, batch: &str, name: &str) -> Option<Tensor> {
        let name = format!("{batch}.in.{name}");
        self.case.facts["tensors"].get(&name).is_some().then(|| self.case.get(&name, self.kind))
    }

    /// Bool `[B, L]`, true = padding, from the attention mask over samples or tokens.
    fn padding(&self, batch: &str) -> Option<Tensor> {
        let real = self.argument(batch, "attention_mask")?;
        let EncoderConfig::Audio(audio) = &self.config.encoder else { return Some(real.eq(0)) };
        let samples: Vec<i64> = Vec::try_from(real.sum_dim_intlist(1, false, Kind::Int64)).unwrap();
        let frames: Vec<i64> = samples.iter().map(|&samples| audio.frames(samples)).collect();
        let all = audio.frames(real.size()[1]);
        let places = Tensor::arange(all, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        Some(places.ge_tensor(&Tensor::from_slice(&frames).unsqueeze(1)))
    }

    /// What enters the first block, the output of each block, and the stack's.
    fn states(&self, batch: &str) -> (Vec<Tensor>, Tensor) {
        let input = match &self.config.encoder {
            EncoderConfig::Image(_) => self.argument(batch, "pixel_values").unwrap(),
            EncoderConfig::Audio(_) => self.argument(batch, "input_values").unwrap().unsqueeze(1),
            EncoderConfig::Text(_) => self.argument(batch, "input_ids").unwrap(),
        };
        let mask_bl = self.argument(batch, "bool_masked_pos").map(|mask| mask.to_kind(Kind::Bool));
        let hidden = mask_bl.as_ref().map(|mask_bl| Hidden { mask_bl });
        let Network { front_end, transformer, parameters } = &self.network;
        let features = front_end.features(&input).unwrap();
        let tokens = front_end.tokens(&features, hidden, self.padding(batch).as_ref(), Pass::Eval).unwrap();
        let norm = |part: &str| parameters.get(&format!("transformer.input_norm.{part}"));
        let entering = match (norm("weight"), norm("bias")) {
            (Some(weight), Some(bias)) => {
                let eps = self.config.transformer.norm_eps;
                tokens.tokens_bld.layer_norm(weight.size(), Some(weight), Some(bias), eps, false)
            }
            _ => tokens.tokens_bld.shallow_clone(),
        };
        let (blocks, last) = transformer.forward_all(&tokens, Pass::Eval).unwrap();
        let states = std::iter::once(entering).chain(blocks.into_iter().map(|block| block.out));
        (states.collect(), last)
    }

    /// Holds a state against the stored one, to 1e-9 in f64 where that is stored.
    fn check(&self, name: &str, got: &Tensor, real_only: Option<&Tensor>, double: f64) {
        let facts = &self.case.facts["tensors"][name];
        let own_rounding = facts["f32_vs_f64_max_abs"].as_f64().expect("facts of each result");
        let allowed = match (self.kind, name.ends_with("last_hidden_state")) {
            (Kind::Double, true) => double,
            _ => TOLERANCE.max(1.5 * own_rounding),
        };
        self.case.check_within(name, got, real_only, allowed);
    }

    fn all_states_agree(&self, batch: &str, double: f64) {
        // In the text class padding keeps its embedding, which no real token sees; here it is zero.
        let padding = self.padding(batch);
        let real_only = padding.as_ref().filter(|_| matches!(self.config.encoder, EncoderConfig::Text(_)));
        let (states, last) = no_grad(|| self.states(batch));
        assert_eq!(states.len(), self.config.transformer.depth + 1);
        for (index, state) in states.iter().enumerate() {
            self.check(&format!("{batch}.out.hidden_states.{index}"), state, real_only, double);
        }
        self.check(&format!("{batch}.out.last_hidden_state"), &last, real_only, double);
    }

    /// The tensors of this network, exported.
    fn written(&self) -> Tensors {
        let place = tempfile::tempdir().unwrap();
        let description = describe(&self.config).unwrap().description;
        let tensors = tensors(&self.network.parameters).unwrap();
        let model = HfModel { description, tensors, companions: BTreeMap::new() };
        model.write(&place.path().join("out")).unwrap();
        read_safetensors(&place.path().join("out/model.safetensors")).unwrap()
    }

    /// Checks that the same tensors are written again, but for `others`; returns both.
    fn check_written(&self, others: &[&str]) -> (Tensors, Tensors) {
        let before = read_safetensors(&folder(self.name).join("model.safetensors")).unwrap();
        let after = self.written();
        let unlike: Vec<&String> = before
            .keys()
            .chain(after.keys().filter(|name| !before.contains_key(*name)))
            .filter(|&name| before.get(name) != after.get(name))
            .collect();
        assert_eq!(unlike, others);
        (before, after)
    }
}

#[test]
fn speech() {
    for kind in [Kind::Float, Kind::Double] {
        let imported = Imported::new("hf_audio", kind);
        assert_eq!(imported.fresh, ["front_end.mask_token"]);
        imported.all_states_agree("b0", 1e-9);
        imported.all_states_agree("b1", 1e-9);
    }
    // This model has no mask vector; ours always has one.
    Imported::new("hf_audio", Kind::Float).check_written(&["masked_spec_embed"]);
}

#[test]
fn text() {
    for kind in [Kind::Float, Kind::Double] {
        let imported = Imported::new("hf_text", kind);
        assert_eq!(imported.fresh, [""; 0]);
        // Their sum of positions and token type is rounded to f32 on the way in.
        imported.all_states_agree("b0", 1e-6);
        imported.all_states_agree("b1", 1e-6);
    }
    let positions = "embeddings.position_embeddings.weight";
    let types = "embeddings.token_type_embeddings.weight";
    let unlike = [positions, types, "pooler.dense.bias", "pooler.dense.weight"];
    let (before, after) = Imported::new("hf_text", Kind::Float).check_written(&unlike);
    let value = |tensors: &Tensors, name: &str| parameters(tensors).unwrap().get(name).unwrap().copy();
    let sum = value(&before, positions) + value(&before, types);
    assert!(sum.equal(&value(&after, positions)), "the token type is in the positions");
    assert_eq!(value(&after, types).abs().max().double_value(&[]), 0.0);
}

#[test]
fn images_with_hidden_patches() {
    for kind in [Kind::Float, Kind::Double] {
        let imported = Imported::new("hf_vision_shared_bias", kind);
        assert_eq!(imported.config.transformer.norm_eps, 1e-12, "from config.json, not the class");
        assert_eq!(imported.fresh, [""; 0]);
        imported.all_states_agree("b0", 1e-9);
        imported.all_states_agree("b1", 1e-9);
    }
    Imported::new("hf_vision_shared_bias", Kind::Float).check_written(&[]);
}

/// The student of a golden case through the tables of names: `own`, which agrees with that case, holds the same bits.
pub(crate) fn check_tables(case: &str, source: Source, own: &Parameters) {
    let all = read_safetensors(&folder(case).join("tensors.safetensors")).unwrap();
    let student = all
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("w.student.")?.to_owned(), tensor)))
        .collect();
    assert_eq!(Source::of_checkpoint(&student).unwrap(), source);
    let mapped = to_ours(source, None, &student).unwrap();
    assert_eq!(tensors(own).unwrap(), mapped.tensors, "{case}");
}

/// The table of the original image code when its position biases are shared.
pub(crate) const ORIGINAL_IMAGE_CODE: Source = Source::BeitFork { bias: BiasTable::Shared };

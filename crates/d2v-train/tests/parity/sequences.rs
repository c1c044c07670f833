//! Speech and text data2vec 1.0 against the reference: features, tokens, layers, targets, predictions, loss, gradients,
//! and student and teacher after three steps; batch `b1` is ragged. In f32 to the cases' tolerances, in f64 to 1e-9.

use crate::support::{Case, check_number};
use crate::transformers::check_tables;
use d2v_encoders::{AudioConfig, AudioFeatures, ConvLayer, EncoderConfig, Hidden, TextConfig, TokenIds};
use d2v_masking::Mask;
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization};
use d2v_torch::Parameters;
use d2v_train::network::{ModelConfig, Network};
use d2v_train::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use d2v_train::step::{Averaged, Learner, MaskedBatch, Objective, StepSettings, TeacherSees};
use d2v_transformer::{HeadConfig, Pass, Size, TransformerConfig};
use d2v_weights::names::Source;
use tch::{Device, Kind, Tensor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modality {
    Audio,
    Text,
}

/// A case with what differs between the two.
struct Setting {
    modality: Modality,
    case: Case,
    kind: Kind,
    teacher_sees: TeacherSees,
}

fn transformer(input_norm: bool) -> TransformerConfig {
    let base = TransformerConfig::sequence(Size::Tiny);
    TransformerConfig { width: 32, depth: 3, heads: 4, ffn_width: 128, input_norm, ..base }
}

impl Setting {
    fn new(modality: Modality, kind: Kind, teacher_sees: TeacherSees) -> Setting {
        let case = Case::load(if modality == Modality::Audio { "v1_audio" } else { "v1_text" });
        Setting { modality, case, kind, teacher_sees }
    }

    fn audio() -> AudioConfig {
        let mut config = AudioConfig::data2vec();
        if let AudioFeatures::Waveform { layers, .. } = &mut config.features {
            *layers = layers.iter().map(|&layer| ConvLayer { width: 16, ..layer }).collect();
        }
        config
    }

    fn model(&self) -> ModelConfig {
        match self.modality {
            Modality::Audio => ModelConfig {
                encoder: EncoderConfig::Audio(Setting::audio()),
                transformer: transformer(true),
                head: HeadConfig::Linear {},
            },
            Modality::Text => {
                let ids = TokenIds { vocabulary: 96, pad: 1, mask: 95, special: vec![0, 1, 2, 3] };
                ModelConfig {
                    encoder: EncoderConfig::Text(TextConfig {
                        max_tokens: 64,
                        norm_eps: 1e-5,
                        ids: Some(ids),
                    }),
                    transformer: transformer(false),
                    head: HeadConfig::Mlp { hidden: 64 },
                }
            }
        }
    }

    fn learner(&self) -> Learner {
        let audio = self.modality == Modality::Audio;
        let objective = Objective {
            layer: d2v_transformer::Intermediate::FeedForward,
            top_k: 2,
            per_layer: if audio { Normalization::InstanceNorm } else { Normalization::LayerNorm },
            post: Normalization::None,
            teacher_sees: self.teacher_sees,
        };
        let loss = match audio {
            true => LossConfig { element: LossKind::L2 {}, scale: LossScale::InverseSqrtWidth },
            false => LossConfig { element: LossKind::SmoothL1 { beta: 4.0 }, scale: LossScale::One },
        };
        let optimizer = OptimizerConfig {
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-6,
            eps_placement: EpsPlacement::Uncorrected,
            weight_decay: 0.01,
            no_decay: NoDecay::default(),
            clip_norm: if audio { None } else { Some(5.0) },
        };
        let place = (Device::Cpu, self.kind, 0);
        let learner =
            Learner::new(&self.model(), Averaged::Transformer, &objective, loss, &optimizer, place).unwrap();
        let student = self.case.weights("w.student.", self.kind);
        let own = &learner.student.network.parameters;
        let used = self.load(own, &|name| student.get(name).map(Tensor::shallow_clone));
        assert_eq!(used, student.len(), "every student tensor of the case has its place");
        // The teacher's front end is the student's, but for what its own encoder holds.
        let teacher = self.case.weights("w.teacher.", self.kind);
        let prefix = self.case.facts["teacher_prefix"].as_str().unwrap();
        self.load(&learner.teacher.parameters, &|name| {
            let own = name.strip_prefix(prefix).and_then(|name| teacher.get(name));
            own.or_else(|| student.get(name)).map(Tensor::shallow_clone)
        });
        learner
    }

    /// Copies weights under the reference's names; returns how many of its tensors were used.
    fn load(&self, own: &Parameters, get: &dyn Fn(&str) -> Option<Tensor>) -> usize {
        let mut used = 0;
        let mut fused = |name: &str| {
            let parts: Vec<Tensor> = self
                .reference_names(name)
                .iter()
                .map(|theirs| get(theirs).unwrap_or_else(|| panic!("the case has no weight {theirs}")))
                .collect();
            used += parts.len();
            Tensor::cat(&parts, 0)
        };
        let weights: Parameters = own.names().map(|name| (name.to_owned(), fused(name))).collect();
        own.copy_from(&weights).unwrap();
        used
    }

    /// The reference's names of one of our parameters: three for query, key and value.
    fn reference_names(&self, ours: &str) -> Vec<String> {
        let encoder = if self.modality == Modality::Audio { "encoder." } else { "encoder.sentence_encoder." };
        let name = match self.modality {
            Modality::Audio => ours
                .replace("front_end.conv_layers.", "feature_extractor.conv_layers.")
                .replace(".conv.weight", ".0.weight")
                .replace(".norm.weight", ".2.1.weight")
                .replace(".norm.bias", ".2.1.bias")
                .replace("front_end.2.1.", "layer_norm.")
                .replace("front_end.proj", "post_extract_proj")
                .replace("front_end.mask_token", "mask_emb")
                .replace("transformer.input_norm", "encoder.layer_norm")
                .replace("head.0", "final_proj"),
            Modality::Text => ours
                .replace("front_end.tokens", "encoder.sentence_encoder.embed_tokens")
                .replace("front_end.positions", "encoder.sentence_encoder.embed_positions")
                .replace("front_end.norm", "encoder.sentence_encoder.layernorm_embedding")
                .replace("head.1", "encoder.regression_head.2")
                .replace("head.0", "encoder.regression_head.0"),
        };
        let name = match name.strip_prefix("front_end.pos_conv.") {
            Some(rest) => format!("encoder.pos_conv.{}", rest.replacen('.', ".0.", 1)),
            None => name,
        };
        let name = name
            .replace("transformer.blocks.", &format!("{encoder}layers."))
            .replace("norm1", "self_attn_layer_norm")
            .replace("norm2", "final_layer_norm")
            .replace("attn.proj", "self_attn.out_proj")
            .replace("mlp.", "");
        match name.contains("attn.qkv") {
            true => ["q", "k", "v"]
                .map(|part| name.replace("attn.qkv", &format!("self_attn.{part}_proj")))
                .to_vec(),
            false => vec![name],
        }
    }

    /// A tensor of ours as the reference's, key biases left out: their true gradient is zero, and what an optimizer
    /// makes of it is rounding.
    fn as_reference(&self, name: &str, tensor: &Tensor) -> Vec<(String, Tensor)> {
        let theirs = self.reference_names(name);
        let parts = tensor.chunk(theirs.len() as i64, 0);
        theirs.into_iter().zip(parts).filter(|(name, _)| !name.ends_with("k_proj.bias")).collect()
    }

    fn mask(&self, batch: &str) -> Mask {
        let mask_bl = self.case.get(&format!("{batch}.mask"), self.kind);
        let hidden: Vec<u8> = Vec::try_from(mask_bl.to_kind(Kind::Uint8).reshape([-1])).unwrap();
        let (rows, len) = (mask_bl.size()[0] as usize, mask_bl.size()[1] as usize);
        Mask::new(rows, len, hidden.iter().map(|&hidden| hidden == 1).collect()).unwrap()
    }

    fn batch(&self, name: &str) -> MaskedBatch {
        let get = |what: &str| self.case.get(&format!("{name}.in.{what}"), self.kind);
        let (input, padding_bl) = match self.modality {
            Modality::Audio => {
                let frames = self.case.get(&format!("{name}.mask"), self.kind).size()[1];
                let own: Vec<i64> = Vec::try_from(get("lengths")).unwrap();
                let own: Vec<i64> = own.iter().map(|&samples| Setting::audio().frames(samples)).collect();
                let padding_bl = Tensor::arange(frames, (Kind::Int64, Device::Cpu))
                    .unsqueeze(0)
                    .ge_tensor(&Tensor::from_slice(&own).unsqueeze(1));
                (get("source").unsqueeze(1), padding_bl)
            }
            Modality::Text => {
                let whole = get("unmasked_tokens");
                let padding_bl = whole.eq(1);
                (whole, padding_bl)
            }
        };
        let any = padding_bl.any().int64_value(&[]) == 1;
        let mut batch = MaskedBatch::new(input, &self.mask(name), any.then_some(padding_bl));
        if self.modality == Modality::Text {
            // Some chosen tokens show themselves or others; they are not predicted.
            batch.student_input = Some(get("src_tokens"));
            if self.teacher_sees == TeacherSees::Hidden {
                batch.mask_bl = get("target_tokens").ne(1);
            }
        }
        batch
    }

    /// Stages of one batch through a network, with and without the mask.
    fn stages_agree(&self, network: &Network, name: &str, who: &str) {
        let batch = self.batch(name);
        let teacher = who == "teacher";
        let check = |what: &str, got: &Tensor| self.case.check(&format!("{name}.{who}.{what}"), got);
        let input = batch.student_input.as_ref().filter(|_| !teacher).unwrap_or(&batch.input);
        let features = network.front_end.features(input).unwrap();
        let is_hidden = !teacher && batch.student_input.is_none();
        let hidden = is_hidden.then_some(Hidden { mask_bl: &batch.mask_bl });
        let padding_bl = match self.teacher_sees {
            TeacherSees::Hidden if teacher => Some(batch.mask_bl.logical_not()),
            _ => batch.padding_bl.as_ref().map(Tensor::shallow_clone),
        };
        let tokens = network.front_end.tokens(&features, hidden, padding_bl.as_ref(), Pass::Eval).unwrap();
        let (outputs, last) = network.transformer.forward_all(&tokens, Pass::Eval).unwrap();
        if self.modality == Modality::Text {
            // Stored before padding becomes zero.
            let stage = format!("{name}.{who}.embedding_norm");
            self.case.check_real(&stage, &tokens.tokens_bld, padding_bl.as_ref());
        } else if !teacher {
            check("features", &features);
        }
        for (index, output) in outputs.iter().enumerate() {
            check(&format!("layer{index}.out"), &output.out);
            if teacher {
                check(&format!("layer{index}.ffn"), &output.feed_forward.scaled());
            }
        }
        if !teacher {
            check("encoder_out", &last);
        }
    }

    fn step_settings(&self, update: u64) -> StepSettings {
        let tau = match self.modality {
            Modality::Audio => 0.999 + (0.9999 - 0.999) * update as f64 / 30_000.0,
            Modality::Text => (0.9 + 0.03 * update as f64).min(0.96),
        };
        StepSettings {
            seed: 0,
            update,
            lr: 1e-3,
            tau,
            precision: Kind::Float,
            recompute: false,
            observe: true,
        }
    }

    /// Three steps, and everything that the case knows of them.
    fn steps_agree(&self) {
        let double = self.kind == Kind::Double;
        let (strict, loose) = if double { (1e-9, 1e-9) } else { (1e-5, 1e-4) };
        let mut learner = self.learner();
        for (index, name) in ["b0", "b1", "b0"].into_iter().enumerate() {
            let report = learner.step(&[self.batch(name)], &self.step_settings(index as u64 + 1)).unwrap();
            let expected = &self.case.run(self.kind)["steps"][index];
            check_number("loss", report.loss, expected["loss_per_sample"].as_f64().unwrap(), strict);
            let norm = expected["grad_norm_before_clip"].as_f64().unwrap();
            check_number("gradient norm", report.grad_norm, norm, loose);
            if index < 2 {
                // The second batch meets weights that have moved: only its shape is that of the stored one.
                let seen = report.observed.unwrap();
                let stored = self.case.get(&format!("{name}.loss.pred"), self.kind);
                assert_eq!(seen.predictions_md.size(), stored.size(), "{name}: predicted positions");
                if index == 0 {
                    self.case.check("b0.loss.pred", &seen.predictions_md);
                    self.case.check("b0.loss.target", &seen.targets_md);
                    self.case.check("b0.teacher.targets_all", &seen.targets_bld);
                }
            }
        }
        let (student, teacher) = if double { (1e-9, 1e-9) } else { (5e-5, 1e-6) };
        self.after(&learner.student.network.parameters, "student_after", student);
        self.after(&learner.teacher.parameters, "teacher_after", teacher);
    }

    /// Sums and norms of all parameters that the case lists.
    fn after(&self, parameters: &Parameters, table: &str, tolerance: f64) {
        let prefix = self.case.facts["teacher_prefix"].as_str().unwrap();
        let copied: Vec<&str> = self.case.facts["teacher_copied_not_averaged"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(serde_json::Value::as_str)
            .collect();
        let mut compared = 0;
        for (name, tensor) in parameters.iter() {
            for (theirs, tensor) in self.as_reference(name, tensor) {
                // The teacher of the case has an encoder alone.
                let own = if table == "teacher_after" {
                    theirs.strip_prefix(prefix)
                } else {
                    Some(theirs.as_str())
                };
                let Some(theirs) = own.map(str::to_owned) else { continue };
                let stored = &self.case.run(self.kind)[table][&theirs];
                let (Some(sum), Some(norm)) = (stored[0].as_f64(), stored[1].as_f64()) else { continue };
                let tolerance = match copied.contains(&theirs.as_str()) && self.kind == Kind::Float {
                    true => 5e-5,
                    false => tolerance,
                };
                let tensor = tensor.detach().to_kind(Kind::Double);
                check_number(&format!("{table} {theirs}"), tensor.norm().double_value(&[]), norm, tolerance);
                let gap = (tensor.sum(Kind::Double).double_value(&[]) - sum).abs();
                let allowed = tolerance * norm * (tensor.numel() as f64).sqrt();
                assert!(gap <= allowed, "{table} {theirs}, sum: off by {gap:e}, allowed {allowed:e}");
                compared += 1;
            }
        }
        let listed = self.case.run(self.kind)[table].as_object().unwrap();
        let expected = listed.keys().filter(|name| !name.ends_with("k_proj.bias")).count();
        assert_eq!(compared, expected, "{table}: every tensor of the case was compared");
    }

    /// Gradients of the summed loss, by the batch's own targets.
    fn gradients_agree(&self, name: &str) {
        let learner = self.learner();
        let batch = self.batch(name);
        let hidden = batch.hidden() as f64;
        let _ = learner.backward(&[batch], &self.step_settings(1)).unwrap();
        let tolerance = if self.kind == Kind::Double { 1e-9 } else { 1e-4 };
        let index = name[1..].parse::<usize>().unwrap();
        let expected = &self.case.run(self.kind)["batches"][index];
        for (parameter, tensor) in learner.student.network.parameters.iter() {
            for (theirs, gradient) in self.as_reference(parameter, &tensor.grad()) {
                let gradient = gradient * hidden;
                let norm = gradient.to_kind(Kind::Double).norm().double_value(&[]);
                let stored = expected["grad_l2"][&theirs].as_f64().unwrap_or(0.0);
                check_number(&format!("{name}: gradient of {theirs}"), norm, stored, tolerance);
                let whole = format!("{name}.grad.{theirs}");
                if self.case.facts["tensors"].get(&whole).is_some() {
                    self.case.check(&whole, &gradient);
                }
            }
        }
    }
}

fn agrees(modality: Modality, kind: Kind) {
    let setting = Setting::new(modality, kind, TeacherSees::All);
    let learner = setting.learner();
    for batch in ["b0", "b1"] {
        setting.stages_agree(&learner.student.network, batch, "student");
        setting.stages_agree(&learner.teacher, batch, "teacher");
        setting.gradients_agree(batch);
    }
    setting.steps_agree();
}

#[test]
fn speech_in_f32() {
    agrees(Modality::Audio, Kind::Float);
}

#[test]
fn speech_in_f64() {
    agrees(Modality::Audio, Kind::Double);
}

#[test]
fn text_in_f32() {
    agrees(Modality::Text, Kind::Float);
}

#[test]
fn text_in_f64() {
    agrees(Modality::Text, Kind::Double);
}

/// The released pipeline's teacher sees the hidden positions alone.
#[test]
fn text_with_the_released_teacher_input() {
    for kind in [Kind::Float, Kind::Double] {
        let setting = Setting::new(Modality::Text, kind, TeacherSees::Hidden);
        let mut learner = setting.learner();
        setting.stages_agree(&learner.student.network, "b2", "student");
        let report = learner.step(&[setting.batch("b2")], &setting.step_settings(1)).unwrap();
        let seen = report.observed.unwrap();
        setting.case.check("b2.loss.pred", &seen.predictions_md);
        setting.case.check("b2.loss.target", &seen.targets_md);
        let expected = &setting.case.run(kind)["batches"][2];
        let loss = expected["loss"].as_f64().unwrap() / expected["sample_size"].as_f64().unwrap();
        check_number("loss", report.loss, loss, if kind == Kind::Double { 1e-9 } else { 1e-5 });
        let whole = Setting::new(Modality::Text, kind, TeacherSees::All);
        let report = whole.learner().step(&[whole.batch("b2")], &whole.step_settings(1)).unwrap();
        assert!(
            (report.loss - loss).abs() > 1e-4 * loss,
            "{} against {loss}: the teacher's input matters",
            report.loss
        );
    }
}

#[test]
fn the_tables_of_names_give_the_same_weights() {
    for (modality, case, source) in [
        (Modality::Audio, "v1_audio", Source::FairseqAudio),
        (Modality::Text, "v1_text", Source::FairseqText),
    ] {
        let learner = Setting::new(modality, Kind::Float, TeacherSees::All).learner();
        check_tables(case, source, &learner.student.network.parameters);
    }
}

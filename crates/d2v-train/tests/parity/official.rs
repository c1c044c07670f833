//! Image data2vec 1.0 against the code that made the published models: layers, targets, predictions, loss, gradients,
//! and student and teacher after three steps, in f32 to the case's tolerances and in f64 to 1e-9.

use crate::support::{Case, check_number, model};
use crate::transformers::{ORIGINAL_IMAGE_CODE, check_tables};
use d2v_encoders::Hidden;
use d2v_masking::Mask;
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization, TargetRule};
use d2v_torch::{Parameters, foreach};
use d2v_train::network::Network;
use d2v_train::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use d2v_train::step::{Averaged, Learner, MaskedBatch, Objective, StepSettings};
use d2v_transformer::{Intermediate, Pass, Tokens};
use tch::{Device, Kind, Tensor};

fn objective() -> Objective {
    Objective {
        layer: Intermediate::Block,
        top_k: 3,
        per_layer: Normalization::LayerNorm,
        post: Normalization::LayerNorm,
        teacher_sees: d2v_train::step::TeacherSees::All,
    }
}

fn learner(kind: Kind) -> Learner {
    let loss = LossConfig { element: LossKind::SmoothL1 { beta: 2.0 }, scale: LossScale::InverseWidth };
    let optimizer = OptimizerConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        eps_placement: EpsPlacement::Corrected,
        weight_decay: 0.05,
        no_decay: NoDecay { one_dimensional: true, names: vec!["cls_token".into()] },
        clip_norm: Some(3.0),
    };
    let place = (Device::Cpu, kind, 0);
    Learner::new(&model(1e-6), Averaged::All, &objective(), loss, &optimizer, place).unwrap()
}

/// The reference's name of one of our parameters.
fn reference_name(ours: &str) -> String {
    let name = ours.strip_prefix("front_end.").or_else(|| ours.strip_prefix("transformer.")).unwrap_or(ours);
    name.replace("head.0.", "lm_head.")
}

fn ours(reference: &Parameters, like: &Parameters) -> Parameters {
    let get = |name: &str| {
        let theirs = reference_name(name);
        reference.get(&theirs).unwrap_or_else(|| panic!("the case has no weight {theirs}")).shallow_clone()
    };
    like.names().map(|name| (name.to_owned(), get(name))).collect()
}

fn load(case: &Case, learner: &Learner, kind: Kind) {
    let student = &learner.student.network.parameters;
    student.copy_from(&ours(&case.weights("w.student.", kind), student)).unwrap();
    let teacher = &learner.teacher.parameters;
    teacher.copy_from(&ours(&case.weights("w.teacher.", kind), teacher)).unwrap();
    // Every tensor of the case found its place: only the teacher's head, which nothing reads, is left out.
    assert_eq!(case.weights("w.student.", kind).len(), student.len(), "student tensors");
    assert_eq!(case.weights("w.teacher.", kind).len(), teacher.len() + 2, "teacher tensors");
}

fn batch(case: &Case, name: &str, kind: Kind) -> MaskedBatch {
    let mask = case.get(&format!("{name}.mask"), kind).to_kind(Kind::Bool);
    let rows: Vec<bool> = Vec::<u8>::try_from(mask.to_kind(Kind::Uint8).reshape([-1]))
        .unwrap()
        .iter()
        .map(|&v| v == 1)
        .collect();
    let mask = Mask::new(mask.size()[0] as usize, mask.size()[1] as usize, rows).unwrap();
    MaskedBatch::new(case.get(&format!("{name}.in.img"), kind), &mask, None)
}

fn tokens(network: &Network, batch: &MaskedBatch, masked: bool) -> Tokens {
    let features = network.front_end.features(&batch.input).unwrap();
    let hidden = masked.then_some(Hidden { mask_bl: &batch.mask_bl });
    network.front_end.tokens(&features, hidden, None, Pass::Eval).unwrap()
}

fn layers_agree(case: &Case, network: &Network, batch: &MaskedBatch, who: &str) -> Tensor {
    let features = network.front_end.features(&batch.input).unwrap();
    case.check(&format!("b0.{who}.patches"), &features);
    let (outputs, last) =
        network.transformer.forward_all(&tokens(network, batch, who == "student"), Pass::Eval).unwrap();
    for (index, output) in outputs.iter().enumerate() {
        case.check(&format!("b0.{who}.layer{index}.out"), &output.out);
        case.check(&format!("b0.{who}.layer{index}.ffn"), &output.feed_forward.scaled());
    }
    last
}

fn case_agrees(kind: Kind) {
    let case = Case::load("v1_vision_official");
    let mut learner = learner(kind);
    load(&case, &learner, kind);
    let b0 = batch(&case, "b0", kind);

    let last = layers_agree(&case, &learner.student.network, &b0, "student");
    case.check("b0.student.encoder_out", &last);
    let _ = layers_agree(&case, &learner.teacher, &b0, "teacher");

    let settings = |update| StepSettings {
        seed: 0,
        update,
        lr: 1e-3,
        tau: 0.9998,
        precision: Kind::Float,
        recompute: false,
        observe: true,
    };
    let strict = if kind == Kind::Double { 1e-9 } else { 1e-5 };
    let gradient_tolerance = if kind == Kind::Double { 1e-9 } else { 1e-4 };

    gradients_agree(&case, &learner, &b0, gradient_tolerance);
    for (index, name) in ["b0", "b1", "b0"].into_iter().enumerate() {
        let report = learner.step(&[batch(&case, name, kind)], &settings(index as u64 + 1)).unwrap();
        let expected = &case.run(kind)["steps"][index];
        check_number("loss", report.loss, expected["loss"].as_f64().unwrap(), strict);
        let norm = expected["grad_norm_before_clip"].as_f64().unwrap();
        check_number("gradient norm", report.grad_norm, norm, gradient_tolerance);
        if index == 0 {
            let seen = report.observed.unwrap();
            case.check("b0.loss.pred", &seen.predictions_md);
            case.check("b0.loss.target", &seen.targets_md);
            case.check("b0.teacher.targets_all", &seen.targets_bld);
        }
    }
    let after = |parameters: &Parameters, table: &str, tolerance: f64| {
        for (name, tensor) in parameters.iter() {
            let stored = &case.run(kind)[table][reference_name(name)];
            let (sum, norm) = (stored[0].as_f64().unwrap(), stored[1].as_f64().unwrap());
            let tensor = tensor.detach().to_kind(Kind::Double);
            check_number(&format!("{table} {name}, norm"), tensor.norm().double_value(&[]), norm, tolerance);
            let gap = (tensor.sum(Kind::Double).double_value(&[]) - sum).abs();
            let allowed = tolerance * norm * (tensor.numel() as f64).sqrt();
            assert!(gap <= allowed, "{table} {name}, sum: off by {gap:e}, allowed {allowed:e}");
        }
    };
    let (student, teacher) = if kind == Kind::Double { (1e-9, 1e-9) } else { (5e-5, 1e-6) };
    after(&learner.student.network.parameters, "student_after", student);
    after(&learner.teacher.parameters, "teacher_after", teacher);
}

/// Gradients of the loss on `b0`: norms of all parameters, and three whole ones.
fn gradients_agree(case: &Case, learner: &Learner, b0: &MaskedBatch, tolerance: f64) {
    let student = &learner.student;
    let rows_m = &b0.hidden_m + (b0.hidden_m.divide_scalar_mode(36, "floor") + 1);
    let tokens = tokens(&student.network, b0, true);
    let wanted = d2v_transformer::Wanted::Rows(&rows_m);
    let last_md = student.network.transformer.encode(&tokens, wanted, Pass::Eval, None).unwrap();
    let predictions_md = student.head.forward(&last_md).unwrap();
    // The targets of this run's own precision: the stored ones are rounded to f32.
    let layers = learner
        .teacher
        .transformer
        .intermediates(&self::tokens(&learner.teacher, b0, false), Intermediate::Block, 1..4)
        .unwrap()
        .everywhere()
        .unwrap();
    let layers: Vec<Tensor> = layers.iter().map(|layer| layer.narrow(1, 1, 36)).collect();
    let targets_bld = objective().rule().targets(&layers).unwrap();
    let targets_md = targets_bld.reshape([-1, 32]).index_select(0, &b0.hidden_m);
    let loss = LossConfig { element: LossKind::SmoothL1 { beta: 2.0 }, scale: LossScale::InverseWidth };
    (loss.sum(&predictions_md, &targets_md).unwrap() / b0.hidden() as f64).backward();
    for (name, tensor) in student.network.parameters.iter() {
        let theirs = reference_name(name);
        let got = foreach::global_norm(&[tensor.grad()]).unwrap().double_value(&[]);
        let expected = case.run(b0.input.kind())["grad_l2"][&theirs].as_f64().unwrap();
        check_number(&format!("gradient of {name}"), got, expected, tolerance);
        if case.facts["tensors"].get(format!("b0.grad.{theirs}")).is_some() {
            case.check(&format!("b0.grad.{theirs}"), &tensor.grad());
        }
    }
    learner.optimizer.clear_gradients().unwrap();
}

#[test]
fn official_case_in_f32() {
    case_agrees(Kind::Float);
}

#[test]
fn official_case_in_f64() {
    case_agrees(Kind::Double);
}

#[test]
fn the_tables_of_names_give_the_same_weights() {
    let case = Case::load("v1_vision_official");
    let learner = learner(Kind::Float);
    load(&case, &learner, Kind::Float);
    check_tables("v1_vision_official", ORIGINAL_IMAGE_CODE, &learner.student.network.parameters);
}

//! Laws of one training step, on networks of a few thousand weights, in f64 where equality is up to rounding.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_encoders::{EncoderConfig, Hidden, ImageConfig, ImagePosition};
use d2v_masking::Mask;
use d2v_targets::{LossConfig, LossKind, LossScale, Normalization};
use d2v_torch::Parameters;
use d2v_torch::seed::{seeded, unit};
use d2v_train::network::{FRONT_END, ModelConfig, Student, TRANSFORMER};
use d2v_train::optimizer::{EpsPlacement, NoDecay, OptimizerConfig};
use d2v_train::step::{Averaged, Learner, MaskedBatch, Objective, StepReport, StepSettings, TeacherSees};
use d2v_transformer::{
    BlockOrder, HeadConfig, InitScheme, Intermediate, Pass, QkvBias, Tokens, TransformerConfig, Wanted,
};
use std::collections::BTreeSet;
use std::thread;
use tch::{Device, Kind, Tensor};

const SEED: u64 = 7;
/// First-moment decay of the optimizer here: after one step from nothing the moment is `1 - BETA1` times the gradient.
const BETA1: f64 = 0.9;

/// What the laws are tried on.
#[derive(Clone)]
struct Setup {
    model: ModelConfig,
    averaged: Averaged,
    per_layer: Normalization,
    kind: Kind,
}

impl Setup {
    /// 4 x 4 patches, a class token, relative bias, three blocks, no dropout of any kind.
    fn new() -> Setup {
        let encoder = EncoderConfig::Image(ImageConfig {
            image_size: 8,
            patch_size: 2,
            channels: 3,
            position: ImagePosition::RelativeBias {},
            class_token: true,
        });
        let transformer = TransformerConfig {
            width: 16,
            depth: 3,
            heads: 2,
            ffn_width: 32,
            order: BlockOrder::PreNorm,
            input_norm: false,
            input_dropout: 0.0,
            norm_eps: 1e-6,
            qkv_bias: QkvBias::QueryValue,
            layer_scale: None,
            dropout: 0.0,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            drop_path: 0.0,
            layer_drop: 0.0,
            init: InitScheme::Xavier,
        };
        let model = ModelConfig { encoder, transformer, head: HeadConfig::Linear {} };
        let per_layer = Normalization::InstanceNorm;
        Setup { model, averaged: Averaged::Transformer, per_layer, kind: Kind::Double }
    }

    /// Every dropout there is, at a rate that nobody could miss.
    fn with_dropouts(mut self) -> Setup {
        let transformer = &mut self.model.transformer;
        (transformer.dropout, transformer.attention_dropout, transformer.activation_dropout) =
            (0.3, 0.3, 0.3);
        (transformer.drop_path, transformer.layer_drop) = (0.5, 0.4);
        self
    }

    fn learner(&self) -> Learner {
        let objective = Objective {
            layer: Intermediate::FeedForward,
            top_k: 2,
            per_layer: self.per_layer,
            post: Normalization::LayerNorm,
            teacher_sees: TeacherSees::All,
        };
        let loss = LossConfig { element: LossKind::L2 {}, scale: LossScale::InverseSqrtWidth };
        let optimizer = OptimizerConfig {
            beta1: BETA1,
            beta2: 0.95,
            eps: 1e-8,
            eps_placement: EpsPlacement::Corrected,
            weight_decay: 0.05,
            no_decay: NoDecay { one_dimensional: true, names: Vec::new() },
            clip_norm: None,
        };
        let place = (Device::Cpu, self.kind, SEED);
        Learner::new(&self.model, self.averaged, &objective, loss, &optimizer, place).unwrap()
    }
}

/// Samples `first..first + samples` of an endless row of random pictures, each with its own number of hidden patches.
fn batch(kind: Kind, first: u64, samples: u64) -> MaskedBatch {
    let pixels: Vec<f64> = (first..first + samples)
        .flat_map(|sample| (0..3 * 8 * 8).map(move |i| 2.0 * unit(&[1, sample, i]) - 1.0))
        .collect();
    let hidden: Vec<bool> = (first..first + samples)
        .flat_map(|sample| {
            (0..16).map(move |i| i == sample % 16 || unit(&[2, sample, i]) < 0.2 + 0.2 * (sample % 4) as f64)
        })
        .collect();
    let mask = Mask::new(samples as usize, 16, hidden).unwrap();
    MaskedBatch::new(Tensor::from_slice(&pixels).view([samples as i64, 3, 8, 8]).to_kind(kind), &mask, None)
}

fn settings(update: u64, lr: f64, tau: f64) -> StepSettings {
    StepSettings { seed: SEED, update, lr, tau, precision: Kind::Float, recompute: false, observe: true }
}

/// Values now, apart from the tensors that go on changing.
fn copied(parameters: &Parameters) -> Parameters {
    parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect()
}

/// Names of the tensors that are not the same bits.
fn changed(before: &Parameters, after: &Parameters) -> BTreeSet<String> {
    assert!(before.names().eq(after.names()), "names");
    let pairs =
        before.iter().filter(|(name, tensor)| after.get(name).is_none_or(|other| !tensor.equal(other)));
    pairs.map(|(name, _)| name.to_owned()).collect()
}

/// Largest difference of any element.
fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shape");
    (a - b).abs().max().double_value(&[])
}

/// Student, teacher and optimizer of a learner.
fn everything(learner: &Learner) -> [Parameters; 3] {
    [&learner.student.network.parameters, &learner.teacher.parameters, &learner.optimizer.state()].map(copied)
}

fn step(learner: &mut Learner, update: u64, tau: f64) -> StepReport {
    let batch = batch(learner.student.network.parameters.tensors()[0].kind(), 10 * update, 4);
    learner.step(&[batch], &settings(update, 1e-2, tau)).unwrap()
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let setup = Setup::new();
    let (mut whole, mut parts) = (setup.learner(), setup.learner());
    let one = whole.step(&[batch(setup.kind, 0, 6)], &settings(1, 1e-2, 0.9)).unwrap();
    let micro = [batch(setup.kind, 0, 4), batch(setup.kind, 4, 2)];
    // The law is of interest because the parts hide different numbers of positions per sample.
    let density = |batch: &MaskedBatch| batch.hidden() as f64 / batch.mask_bl.numel() as f64;
    assert!((density(&micro[0]) - density(&micro[1])).abs() > 0.05, "parts of different density");
    let two = parts.step(&micro, &settings(1, 1e-2, 0.9)).unwrap();
    assert!((one.loss - two.loss).abs() < 1e-12 * one.loss, "loss {} against {}", one.loss, two.loss);
    assert!((one.grad_norm - two.grad_norm).abs() < 1e-12 * one.grad_norm, "norm {}", two.grad_norm);
    let (one, two) = (whole.optimizer.state().under("exp_avg."), parts.optimizer.state().under("exp_avg."));
    for (name, moment) in one.iter() {
        let gap = worst(moment, two.get(name).unwrap()) / (1.0 - BETA1);
        assert!(gap < 1e-10, "gradient of {name}: off by {gap:e}");
    }
    assert!(
        one.iter().all(|(_, moment)| moment.abs().max().double_value(&[]) > 1e-9),
        "every parameter learns"
    );
}

#[test]
fn the_teacher_never_has_gradients() {
    for averaged in [Averaged::Transformer, Averaged::All] {
        let mut learner = Setup { averaged, ..Setup::new() }.learner();
        for update in 1..=2 {
            let seen = step(&mut learner, update, 0.9).observed.expect("asked for");
            for (name, tensor) in learner.teacher.parameters.iter() {
                assert!(!tensor.requires_grad() && !tensor.grad().defined(), "{averaged:?}: {name}");
            }
            let constants = [&seen.targets_bld, &seen.targets_md, &seen.predictions_md, &seen.features];
            assert!(constants.iter().all(|tensor| !tensor.requires_grad()), "{averaged:?}: observed tensors");
        }
    }
}

#[test]
fn shared_tensors_stay_the_students_and_the_rest_follows() {
    let mut learner = Setup::new().learner();
    let before = copied(&learner.teacher.parameters);
    step(&mut learner, 1, 0.75);
    let student = &learner.student.network.parameters;
    for (name, theirs) in learner.teacher.parameters.iter() {
        let ours = student.get(name).unwrap().detach();
        if name.starts_with(FRONT_END) {
            assert!(theirs.equal(&ours), "{name} is shared");
        } else {
            assert!(name.starts_with(TRANSFORMER), "{name}");
            let expected = before.get(name).unwrap() * 0.75 + ours * 0.25;
            assert!(worst(theirs, &expected) < 1e-15, "{name} is an average");
        }
    }
    assert_eq!(changed(&before, &learner.teacher.parameters).len(), before.len(), "every tensor moved");
}

#[test]
fn tau_of_one_freezes_the_teacher() {
    for averaged in [Averaged::Transformer, Averaged::All] {
        let mut learner = Setup { averaged, ..Setup::new() }.learner();
        let [student, teacher, _] = everything(&learner);
        for update in 1..=3 {
            assert!(step(&mut learner, update, 1.0).updated);
        }
        assert!(changed(&teacher, &learner.teacher.parameters).is_empty(), "{averaged:?}: teacher");
        assert_eq!(
            changed(&student, &learner.student.network.parameters).len(),
            student.len(),
            "the student learns"
        );
    }
}

#[test]
fn a_frozen_teacher_shows_the_same_targets_whatever_the_student_learns() {
    for averaged in [Averaged::Transformer, Averaged::TransformerAndPositions, Averaged::All] {
        let setup = Setup { averaged, ..Setup::new() };
        let targets = |tau: f64| {
            let mut learner = setup.learner();
            let seen = (1..=3).map(|update| {
                let batch = batch(setup.kind, 7, 4);
                let report = learner.step(&[batch], &settings(update, 1e-2, tau)).unwrap();
                report.observed.expect("asked for").targets_bld
            });
            seen.collect::<Vec<Tensor>>()
        };
        let frozen = targets(1.0);
        assert!(frozen.iter().all(|later| later.equal(&frozen[0])), "{averaged:?}: the control moved");
        let moving = targets(0.9);
        assert!(moving[1..].iter().all(|later| !later.equal(&moving[0])), "{averaged:?}: nothing moved");
    }
}

/// A step on an input in which one value is `bad` changes nothing, and the next good one is as if it had not been.
#[track_caller]
fn check_skipped(bad: f64) {
    let setup = Setup::new();
    let (mut learner, mut control) = (setup.learner(), setup.learner());
    step(&mut learner, 1, 0.9);
    step(&mut control, 1, 0.9);
    let before = everything(&learner);
    let poisoned = batch(setup.kind, 50, 4);
    let _ = poisoned.input.get(2).get(1).get(0).get(0).fill_(bad);
    let report = learner.step(&[batch(setup.kind, 60, 2), poisoned], &settings(2, 1e-2, 0.9)).unwrap();
    assert!(!report.updated && !report.loss.is_finite(), "{bad}: loss {}", report.loss);
    for (before, after) in before.iter().zip(&everything(&learner)) {
        assert!(changed(before, after).is_empty(), "{bad}");
    }
    step(&mut learner, 3, 0.9);
    step(&mut control, 3, 0.9);
    for (after, expected) in everything(&learner).iter().zip(&everything(&control)) {
        assert!(changed(expected, after).is_empty(), "{bad}: no gradient is left over");
    }
}

#[test]
fn an_update_that_is_not_finite_is_not_made() {
    check_skipped(f64::NAN);
    check_skipped(f64::INFINITY);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let setup = Setup { kind: Kind::Float, ..Setup::new().with_dropouts() };
    let trained = |seed: u64| {
        let mut learner = setup.learner();
        for update in 1..=5 {
            // What others draw in between must not matter.
            let _ = seeded(&[seed], || Tensor::rand([seed as i64 + 1], (Kind::Float, Device::Cpu)));
            let batches = [batch(setup.kind, 10 * update, 2), batch(setup.kind, 10 * update + 2, 2)];
            learner.step(&batches, &StepSettings { seed, ..settings(update, 1e-2, 0.9) }).unwrap();
        }
        everything(&learner)
    };
    let (first, other) = (trained(1), trained(2));
    // libtorch has one random generator for all threads: two learners must not see each other's draws.
    let second = thread::scope(|scope| {
        let beside = scope.spawn(|| trained(2));
        let second = trained(1);
        beside.join().unwrap();
        second
    });
    for (first, second) in first.iter().zip(&second) {
        assert!(changed(first, second).is_empty(), "same seed: {:?}", changed(first, second));
    }
    assert!(!changed(&first[0], &other[0]).is_empty(), "another seed draws other dropouts");
}

#[test]
fn watching_changes_no_bit() {
    for per_layer in [Normalization::InstanceNorm, Normalization::LayerNorm] {
        let setup = Setup { kind: Kind::Float, per_layer, ..Setup::new().with_dropouts() };
        let trained = |observe: bool| {
            let mut learner = setup.learner();
            for update in 1..=3 {
                let settings = StepSettings { observe, ..settings(update, 1e-2, 0.9) };
                learner.step(&[batch(setup.kind, 10 * update, 3)], &settings).unwrap();
            }
            everything(&learner)
        };
        for (watched, alone) in trained(true).iter().zip(&trained(false)) {
            assert!(changed(watched, alone).is_empty(), "{per_layer:?}: {:?}", changed(watched, alone));
        }
    }
}

#[test]
fn targets_of_hidden_positions_are_those_of_all_gathered() {
    for per_layer in [Normalization::InstanceNorm, Normalization::LayerNorm, Normalization::None] {
        let mut setup = Setup { per_layer, ..Setup::new() };
        for order in [BlockOrder::PreNorm, BlockOrder::PostNorm] {
            setup.model.transformer.order = order;
            let batch = batch(setup.kind, 0, 5);
            let hidden_m = batch.hidden_m.shallow_clone();
            let report = setup.learner().step(&[batch], &settings(1, 1e-2, 0.9)).unwrap();
            let seen = report.observed.expect("asked for");
            let gathered = seen.targets_bld.flatten(0, 1).index_select(0, &hidden_m);
            let gap = worst(&seen.targets_md, &gathered);
            assert!(gap < 1e-12, "{per_layer:?}, {order:?}: off by {gap:e}");
        }
    }
}

#[test]
fn recomputed_blocks_give_the_same_bits() {
    let trained = |setup: &Setup, recompute: bool| {
        let mut learner = setup.learner();
        for update in 1..=3 {
            let settings = StepSettings { recompute, ..settings(update, 1e-2, 0.9) };
            learner.step(&[batch(setup.kind, 10 * update, 3)], &settings).unwrap();
        }
        everything(&learner)
    };
    for (order, precision) in [(BlockOrder::PreNorm, Kind::Float), (BlockOrder::PostNorm, Kind::Double)] {
        let mut setup = Setup { kind: precision, ..Setup::new().with_dropouts() };
        setup.model.transformer.order = order;
        for (kept, again) in trained(&setup, false).iter().zip(&trained(&setup, true)) {
            assert!(changed(kept, again).is_empty(), "{order:?} {precision:?}: {:?}", changed(kept, again));
        }
    }
}

#[test]
fn the_teacher_knows_no_dropout() {
    let targets = |setup: Setup| {
        let report = step(&mut setup.learner(), 1, 0.9);
        (report.observed.expect("asked for").targets_bld, report.loss)
    };
    let (with, loss_with) = targets(Setup::new().with_dropouts());
    let (without, loss_without) = targets(Setup::new());
    assert!(with.equal(&without), "targets");
    assert!(loss_with != loss_without, "the student does know dropout");
}

/// Predictions at the hidden positions, the gradients of all parameters of a weighted sum of them, and the blocks that
/// were run.
fn predictions_and_gradients(
    student: &Student,
    batch: &MaskedBatch,
    pass: Pass,
    shortcut: bool,
) -> (Tensor, Parameters, Vec<usize>) {
    let network = &student.network;
    let features = network.front_end.features(&batch.input).unwrap();
    let hidden = Some(Hidden { mask_bl: &batch.mask_bl });
    let tokens: Tokens = network.front_end.tokens(&features, hidden, None, pass).unwrap();
    // One class token stands before the 16 patches of each sample.
    let rows_m = &batch.hidden_m + (batch.hidden_m.divide_scalar_mode(16, "floor") + 1);
    let mut blocks_run = Vec::new();
    let mut note = |index, _| blocks_run.push(index);
    let output_md = seeded(&[SEED], || {
        if shortcut {
            network.transformer.encode(&tokens, Wanted::Rows(&rows_m), pass, Some(&mut note)).unwrap()
        } else {
            let all_bld = network.transformer.encode(&tokens, Wanted::All, pass, Some(&mut note)).unwrap();
            all_bld.reshape([-1, 16]).index_select(0, &rows_m)
        }
    });
    let predictions_md = student.head.forward(&output_md).unwrap();
    let weights = Tensor::arange(predictions_md.numel() as i64, (Kind::Double, Device::Cpu)).sin();
    (&predictions_md * weights.view_as(&predictions_md)).sum(Kind::Double).backward();
    let gradients = network.parameters.iter().map(|(name, tensor)| {
        let mut tensor = tensor.shallow_clone();
        let gradient = tensor.grad();
        // A block that layer drop left out has none.
        let gradient = if gradient.defined() { gradient.copy() } else { tensor.detach().zeros_like() };
        tensor.zero_grad();
        (name.to_owned(), gradient)
    });
    (predictions_md.detach(), gradients.collect(), blocks_run)
}

/// The last block, computed behind attention for the hidden positions alone, gives what it gives computed whole.
/// Returns the blocks that were run.
#[track_caller]
fn check_shortcut(setup: &Setup, pass: Pass) -> Vec<usize> {
    let student = Student::new(&setup.model, Device::Cpu, setup.kind, SEED).unwrap();
    let batch = batch(setup.kind, 0, 5);
    let (rows, rows_gradients, blocks) = predictions_and_gradients(&student, &batch, pass, true);
    let (all, all_gradients, all_blocks) = predictions_and_gradients(&student, &batch, pass, false);
    assert_eq!(blocks, all_blocks, "layer drop is the same");
    assert!(worst(&rows, &all) < 1e-12, "{pass:?}: outputs off by {:e}", worst(&rows, &all));
    for (name, gradient) in rows_gradients.iter() {
        let expected = all_gradients.get(name).unwrap();
        let scale = expected.abs().max().double_value(&[]).max(1.0);
        let gap = worst(gradient, expected);
        assert!(gap < 1e-12 * scale, "{pass:?}: gradient of {name} off by {gap:e} of {scale}");
    }
    blocks
}

#[test]
fn the_last_block_at_hidden_positions_is_the_whole_block_gathered() {
    for (order, layer_scale) in
        [(BlockOrder::PreNorm, None), (BlockOrder::PreNorm, Some(0.3)), (BlockOrder::PostNorm, None)]
    {
        let mut setup = Setup::new();
        (setup.model.transformer.order, setup.model.transformer.layer_scale) = (order, layer_scale);
        assert_eq!(check_shortcut(&setup, Pass::Eval), [0, 1, 2], "{order:?}");
        // Element-wise dropouts draw for other shapes; everything that draws per sample or block must agree.
        (setup.model.transformer.drop_path, setup.model.transformer.layer_drop) = (0.5, 0.4);
        setup.model.transformer.attention_dropout = 0.2;
        let runs: Vec<Vec<usize>> =
            (0..12).map(|key| check_shortcut(&setup, Pass::Train { key, recompute: false })).collect();
        assert!(
            runs.iter().any(|blocks| !blocks.contains(&2)),
            "{order:?}: a run without the last block: {runs:?}"
        );
        assert!(
            runs.iter().any(|blocks| blocks.len() < 3 && blocks.contains(&2)),
            "{order:?}: one with it: {runs:?}"
        );
    }
}

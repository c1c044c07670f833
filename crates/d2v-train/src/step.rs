//! One training step of data2vec; start reading here.
//!
//! The student sees the masked input and predicts, at the masked positions, the mean of the teacher's top K layers
//! on the whole input, normalised (paper, section 3). After the student's update the teacher follows it as a moving
//! average. Nothing here knows what the input is: pictures, sound or words come in through [`ModalityEncoder`].
//!
//! Shapes are suffixes of names: `b` batch, `l` positions, `d` width, `m` hidden positions of the batch.
//!
//! [`ModalityEncoder`]: d2v_encoders::ModalityEncoder

pub use crate::masked_batch::MaskedBatch;
use crate::network::{FRONT_END, HEAD, ModelConfig, Network, POSITIONS, Student};
use crate::optimizer::{Optimizer, OptimizerConfig};
use crate::{Error, Result};
use d2v_ema::{Ema, Fate, Rule};
use d2v_encoders::Hidden;
use d2v_targets::{LossConfig, Normalization, TargetRule, TopLayerAverage};
use d2v_torch::{autocast, foreach, inference, seed};
use d2v_transformer::{Intermediate, Intermediates, Pass, Wanted};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Which part of the teacher is a moving average; the rest is shared with the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaged {
    /// The Transformer alone; features and positions are the student's (the paper).
    Transformer,
    /// The Transformer and what the front end learns of positions; features are the student's.
    TransformerAndPositions,
    /// Everything (the code that trained the published image models).
    All,
}

/// What the teacher is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherSees {
    /// The whole input (the paper).
    #[default]
    All,
    /// Only the positions hidden from the student, as if nothing else were there (the released text pipeline, spec 9, C1).
    Hidden,
}

/// What the student learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Which tensor of the teacher's blocks targets are made of.
    pub layer: Intermediate,
    /// K: how many blocks, counted from the top.
    pub top_k: usize,
    /// Normalises each layer before the mean.
    pub per_layer: Normalization,
    /// Normalises the mean.
    pub post: Normalization,
    /// What the teacher is shown.
    #[serde(default)]
    pub teacher_sees: TeacherSees,
}

impl Objective {
    /// The rule that turns layers into targets.
    pub fn rule(&self) -> TopLayerAverage {
        TopLayerAverage { top_k: self.top_k, per_layer: self.per_layer, post: self.post }
    }
}

/// What changes from step to step.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// Seed of the run.
    pub seed: u64,
    /// Number of this update, 1 for the first; with the seed it decides every random number of the step.
    pub update: u64,
    /// Learning rate.
    pub lr: f64,
    /// The teacher's decay.
    pub tau: f64,
    /// Kind of the matrix products; parameters, targets and loss stay in full precision.
    pub precision: Kind,
    /// Whether the backward pass makes the inside of the student's blocks again instead of keeping it.
    pub recompute: bool,
    /// Whether to keep the tensors that the collapse watch looks at.
    pub observe: bool,
}

/// A step that was given to the device, which may still be at it.
pub struct QueuedStep {
    /// Loss, gradient norm, and 1 where student and teacher moved (else 0): f64 `[3]` on the device.
    numbers_3: Tensor,
    /// Tensors of the last micro-batch, where asked for.
    observed: Option<Observed>,
}

impl QueuedStep {
    /// Waits for the device and says what the step did.
    pub fn read(self) -> StepReport {
        let numbers_3 = self.numbers_3.to_device(Device::Cpu);
        let [loss, grad_norm, moved] = [0, 1, 2].map(|index| numbers_3.double_value(&[index]));
        StepReport { loss, grad_norm, updated: moved == 1.0, observed: self.observed }
    }
}

/// What a step did.
pub struct StepReport {
    /// Loss per hidden position, over all micro-batches.
    pub loss: f64,
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Whether student and teacher moved; not where loss or gradient are not finite.
    pub updated: bool,
    /// Tensors of the last micro-batch, where asked for.
    pub observed: Option<Observed>,
}

/// Tensors for the collapse watch; none records gradients.
pub struct Observed {
    /// Targets at all positions.
    pub targets_bld: Tensor,
    /// Targets at the hidden positions.
    pub targets_md: Tensor,
    /// Predictions there.
    pub predictions_md: Tensor,
    /// The teacher's layers before normalisation, lowest first.
    pub teacher_layers_bld: Vec<Tensor>,
    /// The student's local features.
    pub features: Tensor,
    /// The output of each of the student's blocks that was run, `[B, L, D]`, or `[M, D]` of the last.
    pub student_blocks: Vec<(usize, Tensor)>,
    /// Bool `[B, L]`, true = not real.
    pub padding_bl: Option<Tensor>,
}

/// How one micro-batch is looked at.
#[derive(Debug, Clone, Copy)]
struct View {
    /// Whether the teacher never moves (`tau` = 1, the control experiment).
    frozen: bool,
    /// Whether the tensors of the pass are kept for the collapse watch.
    observe: bool,
}

/// What the teacher makes of a batch.
struct Seen {
    /// Targets at the hidden positions.
    targets_md: Tensor,
    /// Layers and targets at all positions, where they had to be computed.
    everywhere: Option<(Vec<Tensor>, Tensor)>,
}

/// Student, teacher and optimizer.
pub struct Learner {
    /// The network that learns.
    pub student: Student,
    /// Its moving average.
    pub teacher: Network,
    /// Moves the teacher after the student.
    pub ema: Ema,
    /// Moves the student along its gradient.
    pub optimizer: Optimizer,
    averaged: Averaged,
    teacher_sees: TeacherSees,
    layer: Intermediate,
    targets: Box<dyn TargetRule>,
    loss: LossConfig,
}

impl Learner {
    /// A fresh student with the start values of `seed`, and a teacher equal to it.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(
        model: &ModelConfig,
        averaged: Averaged,
        objective: &Objective,
        loss: LossConfig,
        optimizer: &OptimizerConfig,
        (device, kind, seed): (Device, Kind, u64),
    ) -> Result<Learner> {
        objective.rule().validate(model.transformer.depth)?;
        loss.validate()?;
        let student = Student::new(model, device, kind, seed)?;
        let teacher = Network::new(model, device, kind, seed)?;
        let rule = match averaged {
            Averaged::All => Rule::average_all(),
            Averaged::Transformer => Rule::average_all().with(FRONT_END, Fate::Copied),
            Averaged::TransformerAndPositions => {
                Rule::average_all().with(FRONT_END, Fate::Copied).with(POSITIONS, Fate::Averaged)
            }
        };
        let ema = Ema::pair(&student.network.parameters, &teacher.parameters, &rule.student_only(HEAD))?;
        ema.start()?;
        let optimizer = Optimizer::new(optimizer, &student.network.parameters)?;
        let (targets, layer, teacher_sees) =
            (Box::new(objective.rule()), objective.layer, objective.teacher_sees);
        Ok(Learner { student, teacher, ema, optimizer, averaged, teacher_sees, layer, targets, loss })
    }

    /// One update from one or more micro-batches.
    ///
    /// The loss is the mean over the hidden positions of **all** micro-batches, so that splitting a batch changes
    /// nothing but rounding.
    ///
    /// # Errors
    /// If shapes do not fit, nothing is hidden, or libtorch refuses.
    pub fn step(&mut self, batches: &[MaskedBatch], settings: &StepSettings) -> Result<StepReport> {
        Ok(self.queue(batches, settings)?.read())
    }

    /// [`Learner::step`] without waiting for the device, which decides by itself whether loss and gradient are finite.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn queue(&mut self, batches: &[MaskedBatch], settings: &StepSettings) -> Result<QueuedStep> {
        let (loss, observed) = self.backward(batches, settings)?;
        let gradients = self.optimizer.gradients();
        let norm = foreach::global_norm(&gradients)?;
        let skip = skip_flag(&loss, &norm);
        self.optimizer.step(&gradients, &norm, &skip, (settings.lr, settings.update))?;
        self.ema.update_unless(settings.tau, &skip)?;
        drop(gradients);
        self.optimizer.clear_gradients()?;
        let numbers = [loss, norm, 1.0 - skip].map(|number| number.to_kind(Kind::Double));
        Ok(QueuedStep { numbers_3: Tensor::stack(&numbers, 0), observed })
    }

    /// The loss, and its gradient added to that of the student's parameters.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn backward(
        &self,
        batches: &[MaskedBatch],
        settings: &StepSettings,
    ) -> Result<(Tensor, Option<Observed>)> {
        let hidden: i64 = batches.iter().map(MaskedBatch::hidden).sum();
        if hidden == 0 {
            return Err(Error::NothingHidden { update: settings.update });
        }
        let device = batches[0].input.device();
        let mut losses = Vec::with_capacity(batches.len());
        let mut observed = None;
        for (index, batch) in batches.iter().enumerate() {
            let place = [settings.seed, settings.update, index as u64];
            let pass = Pass::Train { key: seed::mix(&place), recompute: settings.recompute };
            let view =
                View { frozen: settings.tau == 1.0, observe: settings.observe && index + 1 == batches.len() };
            let forward = || autocast::with(device, settings.precision, || self.loss_of(batch, pass, view));
            let (loss, seen) = seed::seeded(&place, forward)??;
            let loss = loss / hidden as f64;
            loss.f_backward()?;
            losses.push(loss.detach());
            observed = seen;
        }
        Ok((Tensor::stack(&losses, 0).sum(None::<Kind>), observed))
    }

    /// The loss summed over the hidden positions of one batch.
    fn loss_of(&self, batch: &MaskedBatch, pass: Pass, view: View) -> Result<(Tensor, Option<Observed>)> {
        let Student { network, head } = &self.student;
        let features = network.front_end.features(&batch.input)?;

        // The teacher: the whole input, its top K layers, no gradient. What nobody looks at is dropped at once.
        let Seen { targets_md, everywhere } =
            inference::with(|| self.targets_of(batch, &features.detach(), view))??;
        let everywhere = everywhere.filter(|_| view.observe);
        // An ordinary tensor, which the backward pass may keep.
        let targets_md = targets_md.copy();

        // The student: the masked input, its last layer at the hidden positions.
        let (features, hidden) = match &batch.student_input {
            None => (features, Some(Hidden { mask_bl: &batch.mask_bl })),
            Some(masked) => {
                drop(features);
                (network.front_end.features(masked)?, None)
            }
        };
        let tokens = network.front_end.tokens(&features, hidden, batch.padding_bl.as_ref(), pass)?;
        let rows_m = batch.token_rows(tokens.extra);
        let mut student_blocks = Vec::new();
        let mut keep = |index, block: Tensor| student_blocks.push((index, block));
        let watch: Option<&mut dyn FnMut(usize, Tensor)> = if view.observe { Some(&mut keep) } else { None };
        let last_md = network.transformer.encode(&tokens, Wanted::Rows(&rows_m), pass, watch)?;
        let predictions_md = head.forward(&last_md)?;

        let loss = self.loss.sum(&predictions_md, &targets_md)?;
        let observed = everywhere.map(|(teacher_layers_bld, targets_bld)| Observed {
            targets_bld,
            targets_md,
            predictions_md: predictions_md.detach(),
            teacher_layers_bld,
            features: features.detach(),
            student_blocks,
            padding_bl: batch.padding_bl.as_ref().map(Tensor::shallow_clone),
        });
        Ok((loss, observed))
    }

    /// The teacher's top layers on the whole input, and the targets made of them. A frozen teacher shares nothing that
    /// the student learns.
    fn targets_of(&self, batch: &MaskedBatch, student_features: &Tensor, view: View) -> Result<Seen> {
        let Network { front_end, transformer, .. } = &self.teacher;
        let features = match self.averaged {
            Averaged::Transformer | Averaged::TransformerAndPositions if !view.frozen => {
                student_features.shallow_clone()
            }
            _ => front_end.features(&batch.input)?,
        };
        let padding_bl = match self.teacher_sees {
            TeacherSees::All => batch.padding_bl.as_ref().map(Tensor::shallow_clone),
            TeacherSees::Hidden => Some(batch.mask_bl.logical_not()),
        };
        let tokens = front_end.tokens(&features, None, padding_bl.as_ref(), Pass::Eval)?;
        let depth = transformer.config().depth;
        let top = depth - self.targets.top_layers()..depth;
        let layers = transformer.intermediates(&tokens, self.layer, top)?;
        let alone = self.targets.is_per_position();
        let everywhere = match view.observe || !alone {
            true => {
                let layers_bld = position_layers(&layers, batch, tokens.extra)?;
                let targets_bld = self.targets.targets(&layers_bld)?;
                Some((layers_bld, targets_bld))
            }
            false => None,
        };
        let targets_md = match &everywhere {
            Some((_, targets_bld)) if !alone => targets_bld.flatten(0, 1).index_select(0, &batch.hidden_m),
            // Whether anybody looks on changes no bit of what is learnt.
            _ => self.targets.targets(&hidden_layers(&layers, batch, tokens.extra)?)?.squeeze_dim(0),
        };
        Ok(Seen { targets_md, everywhere })
    }
}

/// The teacher's layers at all input positions, `[B, L, D]` each.
pub(crate) fn position_layers(
    layers: &Intermediates<'_>,
    batch: &MaskedBatch,
    extra: i64,
) -> Result<Vec<Tensor>> {
    let positions = batch.mask_bl.size()[1];
    Ok(layers.everywhere()?.iter().map(|layer| layer.narrow(1, extra, positions)).collect())
}

/// The teacher's layers at the hidden positions, `[1, M, D]` each; the topmost block is computed there alone.
pub(crate) fn hidden_layers(
    layers: &Intermediates<'_>,
    batch: &MaskedBatch,
    extra: i64,
) -> Result<Vec<Tensor>> {
    Ok(layers.at(&batch.token_rows(extra))?.iter().map(|layer| layer.unsqueeze(0)).collect())
}

/// 1 where an update must not be made, else 0: loss or gradient is not finite.
pub(crate) fn skip_flag(loss: &Tensor, norm: &Tensor) -> Tensor {
    (loss + norm).isfinite().logical_not().to_kind(Kind::Float)
}

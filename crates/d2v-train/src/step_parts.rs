//! Where the time of a training step goes.
//!
//! The same operations as [`Learner::step`] in the same order, with a look at the clock between them; a test holds
//! the two to the same bits.

use crate::Result;
use crate::recipes::LearnerConfig;
use crate::step::{Averaged, Learner, MaskedBatch, StepSettings, hidden_layers, position_layers, skip_flag};
use d2v_encoders::Hidden;
use d2v_targets::TargetRule;
use d2v_torch::{autocast, cuda, foreach, inference, seed};
use d2v_transformer::{Pass, Wanted};
use serde::Serialize;
use std::time::Instant;
use tch::{Device, Tensor};

/// A part of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Input to features to tokens, student and teacher.
    FrontEnd,
    /// The teacher's blocks.
    Teacher,
    /// Targets of the teacher's layers.
    Targets,
    /// The student's blocks.
    Student,
    /// Prediction head and loss.
    HeadAndLoss,
    /// The backward pass.
    Backward,
    /// The gradient's norm.
    Norm,
    /// Clipping and AdamW.
    Optimizer,
    /// The moving average.
    Ema,
}

impl Part {
    /// All parts in the order in which they first come.
    pub const ALL: [Part; 9] = [
        Part::FrontEnd,
        Part::Teacher,
        Part::Targets,
        Part::Student,
        Part::HeadAndLoss,
        Part::Backward,
        Part::Norm,
        Part::Optimizer,
        Part::Ema,
    ];

    /// The part in words.
    pub fn name(self) -> &'static str {
        match self {
            Part::FrontEnd => "front end",
            Part::Teacher => "teacher",
            Part::Targets => "targets",
            Part::Student => "student forward",
            Part::HeadAndLoss => "head, loss",
            Part::Backward => "backward",
            Part::Norm => "gradient norm",
            Part::Optimizer => "clip, optimizer",
            Part::Ema => "moving average",
        }
    }
}

/// Milliseconds spent in each part of one step, in the order of [`Part::ALL`].
pub type PartTimes = [f64; Part::ALL.len()];

struct Stopwatch {
    device: Device,
    since: Instant,
    times_ms: PartTimes,
}

impl Stopwatch {
    /// Adds the time since the last lap to `part`. Waiting for the device costs a little time of its own.
    fn lap(&mut self, part: Part) {
        cuda::synchronize(self.device);
        let now = Instant::now();
        self.times_ms[part as usize] += (now - self.since).as_secs_f64() * 1e3;
        self.since = now;
    }
}

/// One update of `learner`, made of `config`, from one batch; returns the loss and where the time went.
///
/// # Errors
/// As [`Learner::step`].
pub fn timed_step(
    learner: &mut Learner,
    config: &LearnerConfig,
    batch: &MaskedBatch,
    settings: &StepSettings,
) -> Result<(f64, PartTimes)> {
    let device = batch.input.device();
    let place = [settings.seed, settings.update, 0];
    let pass = Pass::Train { key: seed::mix(&place), recompute: settings.recompute };
    cuda::synchronize(device);
    let mut watch = Stopwatch { device, since: Instant::now(), times_ms: PartTimes::default() };
    let forward =
        || autocast::with(device, settings.precision, || loss_of(learner, config, batch, pass, &mut watch));
    let loss = seed::seeded(&place, forward)??;
    let loss = loss / batch.hidden() as f64;
    watch.lap(Part::HeadAndLoss);
    loss.backward();
    watch.lap(Part::Backward);

    let gradients = learner.optimizer.gradients();
    let norm = foreach::global_norm(&gradients)?;
    let skip = skip_flag(&loss, &norm);
    watch.lap(Part::Norm);
    learner.optimizer.step(&gradients, &norm, &skip, (settings.lr, settings.update))?;
    watch.lap(Part::Optimizer);
    learner.ema.update_unless(settings.tau, &skip)?;
    watch.lap(Part::Ema);
    drop(gradients);
    learner.optimizer.clear_gradients()?;
    watch.lap(Part::Optimizer);
    Ok((loss.double_value(&[]), watch.times_ms))
}

/// The loss summed over the hidden positions.
fn loss_of(
    learner: &Learner,
    config: &LearnerConfig,
    batch: &MaskedBatch,
    pass: Pass,
    watch: &mut Stopwatch,
) -> Result<Tensor> {
    let rule = config.objective.rule();
    let student = &learner.student.network;
    let features = student.front_end.features(&batch.input)?;
    watch.lap(Part::FrontEnd);
    let targets_md = inference::with(|| -> Result<Tensor> {
        let teacher = &learner.teacher;
        let features = match config.averaged {
            Averaged::Transformer | Averaged::TransformerAndPositions => features.detach(),
            Averaged::All => teacher.front_end.features(&batch.input)?,
        };
        let tokens = teacher.front_end.tokens(&features, None, batch.padding_bl.as_ref(), Pass::Eval)?;
        watch.lap(Part::FrontEnd);
        let depth = config.model.transformer.depth;
        let top = depth - rule.top_layers()..depth;
        let layers = teacher.transformer.intermediates(&tokens, config.objective.layer, top)?;
        let alone = rule.is_per_position();
        let layers = match alone {
            true => hidden_layers(&layers, batch, tokens.extra)?,
            false => position_layers(&layers, batch, tokens.extra)?,
        };
        watch.lap(Part::Teacher);
        let targets = rule.targets(&layers)?;
        Ok(match alone {
            true => targets.squeeze_dim(0),
            false => targets.flatten(0, 1).index_select(0, &batch.hidden_m),
        })
    })??;
    let targets_md = targets_md.copy();
    watch.lap(Part::Targets);
    let hidden = Hidden { mask_bl: &batch.mask_bl };
    let tokens = student.front_end.tokens(&features, Some(hidden), batch.padding_bl.as_ref(), pass)?;
    let rows_m = batch.token_rows(tokens.extra);
    watch.lap(Part::FrontEnd);
    let last_md = student.transformer.encode(&tokens, Wanted::Rows(&rows_m), pass, None)?;
    watch.lap(Part::Student);
    let predictions_md = learner.student.head.forward(&last_md)?;
    Ok(config.loss.sum(&predictions_md, &targets_md)?)
}

/// The mean of several steps' parts.
pub fn mean_parts(steps: &[PartTimes]) -> PartTimes {
    std::array::from_fn(|part| steps.iter().map(|times| times[part]).sum::<f64>() / steps.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;
    use crate::recipes::Modality;
    use crate::step_timing::settings;
    use d2v_transformer::Size;
    use tch::Kind;

    #[track_caller]
    fn check(modality: Modality, averaged: Averaged, precision: Precision) {
        // As tests of whole runs do, which may come in between: kernels of both modes round differently.
        d2v_torch::settings::set_deterministic(true).unwrap();
        let config = LearnerConfig { averaged, ..LearnerConfig::of(modality, Size::Tiny).shrunk() };
        let new = || config.learner(Device::Cpu, Kind::Float, 3).unwrap();
        let (mut whole, mut parts) = (new(), new());
        for update in 1..=2 {
            let batch = config.noise(2, update, Device::Cpu).unwrap();
            let settings = settings(update, precision);
            let (loss, times) = timed_step(&mut parts, &config, &batch, &settings).unwrap();
            assert_eq!(loss, whole.step(&[batch], &settings).unwrap().loss, "loss of update {update}");
            assert!(times.iter().all(|&time| time > 0.0), "{times:?}");
        }
        let pairs = whole.student.network.parameters.iter().zip(parts.student.network.parameters.iter());
        for ((name, a), (_, b)) in
            pairs.chain(whole.teacher.parameters.iter().zip(parts.teacher.parameters.iter()))
        {
            assert!(a.equal(b), "{modality:?} {averaged:?} {precision:?}: {name} differs");
        }
    }

    #[test]
    fn the_parts_make_the_whole_step() {
        check(Modality::Image, Averaged::All, Precision::F32);
        check(Modality::Image, Averaged::Transformer, Precision::Bf16);
        check(Modality::Audio, Averaged::Transformer, Precision::F32);
        check(Modality::Audio, Averaged::TransformerAndPositions, Precision::F32);
        check(Modality::Text, Averaged::Transformer, Precision::F32);
    }

    #[test]
    fn parts_stand_where_their_number_says() {
        for (index, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, index, "{}", part.name());
        }
        let mut second = PartTimes::default();
        second[1] = 4.0;
        assert_eq!(mean_parts(&[PartTimes::default(), second])[1], 2.0);
    }
}

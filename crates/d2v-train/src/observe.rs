//! From the tensors of a step to the numbers that the collapse watch and the log read.

use crate::Result;
use crate::collapse::{Observation, Stage};
use crate::step::{Learner, Observed, StepReport, StepSettings};
use d2v_targets::LossConfig;
use d2v_targets::statistics::{
    StageStatistics, adjacent_cosine, effective_rank, mean_sample_cosine, mean_token_cosine, position_share,
    predict_zero_ratio, r2, rank_limit, relative_distance, token_std,
};
use tch::{Kind, Tensor};

/// The cheap numbers of every line of the log.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Deviation of the targets over hidden positions.
    pub target_std: f64,
    /// Deviation of the predictions there.
    pub prediction_std: f64,
    /// Share of the targets' variance that the predictions explain.
    pub r2: f64,
}

impl Spread {
    /// Of one step.
    ///
    /// # Errors
    /// If there is a single hidden position.
    pub fn of(seen: &Observed) -> Result<Spread> {
        Ok(Spread {
            target_std: token_std(&seen.targets_md)?,
            prediction_std: token_std(&seen.predictions_md)?,
            r2: r2(&seen.predictions_md, &seen.targets_md)?,
        })
    }
}

/// What of the recent past an observation needs beside the step's own tensors.
#[derive(Debug, Clone, Copy)]
pub struct Recent {
    /// Mean loss since the last observation.
    pub loss: f64,
    /// Largest gradient norm since the last observation.
    pub grad_norm: f64,
    /// Part of the run that its warm-up takes, 0 to 1.
    pub warmup_fraction: f64,
}

/// Everything the watch looks at, with the cosines that only the log wants.
pub struct Watched {
    /// For the watch.
    pub observation: Observation,
    /// Mean cosine between targets of one sample.
    pub token_cosine: Option<f64>,
    /// Mean cosine between the samples' mean targets.
    pub sample_cosine: Option<f64>,
}

/// Measures the tensors of one step.
///
/// # Errors
/// If shapes do not fit.
pub fn observe(
    learner: &Learner,
    loss: &LossConfig,
    settings: &StepSettings,
    seen: &Observed,
    spread: &Spread,
    recent: Recent,
) -> Result<Watched> {
    let (samples, positions) = (seen.targets_bld.size()[0], seen.targets_bld.size()[1]);
    let hidden = seen.targets_md.size();
    let mut stages = std::collections::BTreeMap::new();
    // A front end whose features are not token vectors (ids of words) has no spread to watch.
    if seen.features.is_floating_point() && seen.features.dim() == 3 {
        stages.insert(Stage::FrontEnd, StageStatistics::measure(&seen.features)?);
    }
    for (index, block) in &seen.student_blocks {
        let block_bld = if block.dim() == 2 { block.unsqueeze(0) } else { block.shallow_clone() };
        stages.insert(Stage::Block(*index), StageStatistics::measure(&block_bld)?);
    }
    let layers = Tensor::stack(&seen.teacher_layers_bld, 0).to_kind(Kind::Float);
    let teacher_bld = layers.mean_dim(0, false, None::<Kind>);
    stages.insert(Stage::Teacher, StageStatistics::measure(&teacher_bld)?);
    stages.insert(Stage::Prediction, StageStatistics::measure(&seen.predictions_md.unsqueeze(0))?);

    let student = &learner.student.network.parameters;
    let averaged = learner.ema.names(d2v_ema::Fate::Averaged);
    let pairs: Vec<(&Tensor, &Tensor)> = averaged
        .iter()
        .filter_map(|name| Some((student.get(name)?, learner.teacher.parameters.get(name)?)))
        .collect();
    let observation = Observation {
        step: settings.update - 1,
        lr: settings.lr,
        warmup_fraction: recent.warmup_fraction,
        tau: settings.tau,
        loss: recent.loss,
        predict_zero_ratio: predict_zero_ratio(loss, &seen.predictions_md, &seen.targets_md)?,
        grad_norm: recent.grad_norm,
        target_std: spread.target_std,
        prediction_std: spread.prediction_std,
        effective_rank: effective_rank(&seen.targets_md)?,
        rank_limit: rank_limit(hidden[0], hidden[1]) as f64,
        position_share: if samples > 1 { Some(position_share(&seen.targets_bld)?) } else { None },
        r2: spread.r2,
        adjacent_cosine: if positions > 1 { Some(adjacent_cosine(&seen.targets_bld)?) } else { None },
        relative_distance: relative_distance(pairs)?,
        stages,
    };
    let token_cosine = if positions > 1 { Some(mean_token_cosine(&seen.targets_bld)?) } else { None };
    let sample_cosine = if samples > 1 { Some(mean_sample_cosine(&seen.targets_bld)?) } else { None };
    Ok(Watched { observation, token_cosine, sample_cosine })
}

/// Sums of what happened since the last line of the log, so that a line is the same after a resume.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Since {
    loss_sum: f64,
    updates: u64,
    largest_grad_norm: f64,
}

impl Since {
    /// Takes in one update; those that were skipped do not count.
    pub fn add(&mut self, report: &StepReport) {
        if report.updated {
            self.loss_sum += report.loss;
            self.updates += 1;
            self.largest_grad_norm = self.largest_grad_norm.max(report.grad_norm);
        }
    }

    /// Mean loss; that of `report` where every update was skipped.
    pub fn loss(&self, report: &StepReport) -> f64 {
        if self.updates == 0 { report.loss } else { self.loss_sum / self.updates as f64 }
    }

    /// Largest gradient norm; that of `report` where every update was skipped.
    pub fn grad_norm(&self, report: &StepReport) -> f64 {
        if self.updates == 0 { report.grad_norm } else { self.largest_grad_norm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_since_the_last_line_is_the_step_itself() {
        let report = StepReport { loss: 2.0, grad_norm: 3.0, updated: false, observed: None };
        let mut since = Since::default();
        since.add(&report);
        assert_eq!((since.loss(&report), since.grad_norm(&report)), (2.0, 3.0), "a skipped update");
        for (loss, grad_norm) in [(1.0, 5.0), (3.0, 4.0)] {
            since.add(&StepReport { loss, grad_norm, updated: true, observed: None });
        }
        assert_eq!((since.loss(&report), since.grad_norm(&report)), (2.0, 5.0), "mean and largest");
    }
}

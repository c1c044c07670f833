//! From the tensors of a step to the numbers that the collapse watch and the log read.

use crate::Result;
use crate::batches::Hiding;
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
    /// Of one step; `None` of fewer than two hidden positions, which have no spread.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn of(seen: &Observed) -> Result<Option<Spread>> {
        if seen.targets_md.size()[0] < 2 {
            return Ok(None);
        }
        Ok(Some(Spread {
            target_std: token_std(&seen.targets_md)?,
            prediction_std: token_std(&seen.predictions_md)?,
            r2: r2(&seen.predictions_md, &seen.targets_md)?,
        }))
    }
}

/// Which positions the rows of [`Observed::predictions_md`] are of: int64 indices into samples times positions, on the host.
pub fn predicted_positions(hiding: &Hiding) -> Tensor {
    Tensor::from_slice(&hiding.predicted.as_ref().unwrap_or(&hiding.mask).flat_hidden())
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

/// Measures the tensors of one step, whose predictions are of the positions `hidden_m`.
///
/// # Errors
/// If shapes do not fit.
pub fn observe(
    learner: &Learner,
    loss: &LossConfig,
    settings: &StepSettings,
    (seen, hidden_m): (&Observed, &Tensor),
    spread: &Spread,
    recent: Recent,
) -> Result<Watched> {
    let hidden_m = hidden_m.to_device(seen.predictions_md.device());
    let of_hidden =
        |x_md: &Tensor| StageStatistics::measure_hidden(x_md, &hidden_m, seen.targets_bld.size()[1]);
    let real = RealPart::of(seen);
    let targets_bld = real.cut(&seen.targets_bld)?;
    let (samples, positions) = (targets_bld.size()[0], targets_bld.size()[1]);
    let hidden = seen.targets_md.size();
    let mut stages = std::collections::BTreeMap::new();
    stages.insert(Stage::FrontEnd, StageStatistics::measure(&real.cut(&seen.features)?)?);
    for (index, block) in &seen.student_blocks {
        let measured = match block.dim() {
            2 => of_hidden(block)?,
            _ => StageStatistics::measure(&real.cut(block)?)?,
        };
        stages.insert(Stage::Block(*index), measured);
    }
    let layers = Tensor::stack(&seen.teacher_layers_bld, 0).to_kind(Kind::Float);
    let teacher_bld = layers.mean_dim(0, false, None::<Kind>);
    stages.insert(Stage::Teacher, StageStatistics::measure(&real.cut(&teacher_bld)?)?);
    stages.insert(Stage::Prediction, of_hidden(&seen.predictions_md)?);

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
        position_share: if samples > 1 { Some(position_share(&targets_bld)?) } else { None },
        r2: spread.r2,
        adjacent_cosine: if positions > 1 { Some(adjacent_cosine(&targets_bld)?) } else { None },
        relative_distance: relative_distance(pairs)?,
        stages,
    };
    let token_cosine = if positions > 1 { Some(mean_token_cosine(&targets_bld)?) } else { None };
    let sample_cosine = if samples > 1 { Some(mean_sample_cosine(&targets_bld)?) } else { None };
    Ok(Watched { observation, token_cosine, sample_cosine })
}

/// What statistics over positions look at where rows differ in length: the longer half of the rows, cut to the shortest
/// of these, so that every number in it is real.
struct RealPart {
    /// Rows and positions; absent: everything.
    kept: Option<(Tensor, i64)>,
}

impl RealPart {
    fn of(seen: &Observed) -> RealPart {
        let Some(padding_bl) = &seen.padding_bl else { return RealPart { kept: None } };
        let lengths_b = padding_bl.logical_not().sum_dim_intlist(1, false, Kind::Int64);
        let rows = lengths_b.size()[0];
        let (sorted_b, order_b) = lengths_b.sort(0, true);
        let kept = (rows + 1) / 2;
        let shortest = sorted_b.int64_value(&[kept - 1]);
        RealPart { kept: Some((order_b.narrow(0, 0, kept), shortest)) }
    }

    /// The part of `[B, L, D]`; of `[B, extra + L, D]` the extra tokens are taken as positions in front.
    fn cut(&self, x_bld: &Tensor) -> Result<Tensor> {
        Ok(match &self.kept {
            None => x_bld.shallow_clone(),
            Some((rows, length)) => x_bld.f_index_select(0, rows)?.f_narrow(1, 0, *length)?,
        })
    }
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
    use crate::collapse::{CollapseConfig, CollapseWatch, RunState, Verdict};
    use crate::recipes::LearnerConfig;
    use d2v_torch::seed;
    use d2v_transformer::Size;
    use tch::Device;

    /// What the watch says of a real step, once `change` has been made to its predictions.
    fn verdict(change: impl FnOnce(&mut Observed, &Tensor)) -> (Watched, Verdict) {
        let recipe = LearnerConfig::image(Size::Tiny).shrunk();
        let mut learner = recipe.learner(Device::Cpu, Kind::Float, 3).unwrap();
        let batch = recipe.noise(6, 1, Device::Cpu).unwrap();
        let settings = StepSettings {
            seed: 3,
            update: 401,
            lr: 1e-3,
            tau: 0.999,
            precision: Kind::Float,
            recompute: false,
            observe: true,
        };
        let report = learner.step(std::slice::from_ref(&batch), &settings).unwrap();
        let mut seen = report.observed.unwrap();
        change(&mut seen, &batch.hidden_m);
        let recent = Recent { loss: report.loss, grad_norm: report.grad_norm, warmup_fraction: 0.1 };
        let spread = Spread::of(&seen).unwrap().unwrap();
        let watched =
            observe(&learner, &recipe.loss, &settings, (&seen, &batch.hidden_m), &spread, recent).unwrap();
        // Any alarm will do: clues are told once there is one.
        let config = CollapseConfig { min_target_std: 100.0, ..CollapseConfig::default() };
        let verdict = CollapseWatch::new(config).observe(&watched.observation);
        assert_ne!(verdict.state, RunState::Healthy, "{verdict}");
        (watched, verdict)
    }

    fn says_same_for_every_sample(verdict: &Verdict) -> bool {
        verdict.evidence.iter().any(|line| line.contains("predictions hardly depend on the sample"))
    }

    #[test]
    fn predictions_that_do_not_depend_on_the_sample_are_a_clue() {
        let (watched, verdict) = verdict(|seen, hidden_m| {
            // A value of each position, the same in all samples, beside a mean that all positions share.
            let (positions, width) = (seen.targets_bld.size()[1], seen.targets_bld.size()[2]);
            let normal =
                |key| seed::seeded(&[key], || Tensor::randn([positions, width], (Kind::Float, Device::Cpu)));
            let value_ld = normal(1) * 0.1 + normal(2).narrow(0, 0, 1);
            seen.predictions_md = value_ld.index_select(0, &hidden_m.remainder(positions));
        });
        let prediction = watched.observation.stages[&Stage::Prediction];
        assert!(prediction.sample_cosine.unwrap() > 0.98, "{prediction:?}");
        assert!((prediction.position_share.unwrap() - 1.0).abs() < 1e-6, "{prediction:?}");
        assert!(says_same_for_every_sample(&verdict), "{verdict}");
    }

    #[test]
    fn predictions_that_differ_between_samples_are_no_clue() {
        let (watched, verdict) = verdict(|seen, _| {
            let size = seen.predictions_md.size();
            seen.predictions_md = seed::seeded(&[4], || Tensor::randn(&size, (Kind::Float, Device::Cpu)));
        });
        let prediction = watched.observation.stages[&Stage::Prediction];
        assert!(prediction.sample_cosine.unwrap().abs() < 0.5, "{prediction:?}");
        assert!(!says_same_for_every_sample(&verdict), "{verdict}");
        // All of them, the last block included, of which only hidden rows are computed.
        for (stage, statistics) in &watched.observation.stages {
            assert!(statistics.position_share.is_some_and(f64::is_finite), "{stage}: {statistics:?}");
        }
    }

    #[test]
    fn one_hidden_position_has_no_spread() {
        let row = |rows: i64| Tensor::ones([rows, 4], (Kind::Float, Device::Cpu));
        let seen = |rows| Observed {
            targets_md: row(rows),
            predictions_md: row(rows),
            teacher_layers_bld: Vec::new(),
            features: row(1),
            student_blocks: Vec::new(),
            padding_bl: None,
            targets_bld: row(1),
        };
        assert!(Spread::of(&seen(0)).unwrap().is_none(), "none");
        assert!(Spread::of(&seen(1)).unwrap().is_none(), "one");
        assert!(Spread::of(&seen(2)).unwrap().is_some(), "two");
    }

    #[test]
    fn statistics_leave_padding_out() {
        let value = |row: i64, at: i64| (10 * row + at) as f64;
        let targets_bld = Tensor::from_slice(
            &(0..3).flat_map(|row| (0..4).map(move |at| value(row, at))).collect::<Vec<f64>>(),
        )
        .view([3, 4, 1]);
        let real = [1, 4, 3];
        let padding = (0..3).flat_map(|row| (0..4).map(move |at| at >= real[row])).collect::<Vec<bool>>();
        let nothing = || Tensor::zeros([1, 1], (Kind::Double, Device::Cpu));
        let mut seen = Observed {
            targets_md: nothing(),
            predictions_md: nothing(),
            teacher_layers_bld: Vec::new(),
            features: nothing(),
            student_blocks: Vec::new(),
            padding_bl: Some(Tensor::from_slice(&padding).view([3, 4])),
            targets_bld,
        };
        let cut = RealPart::of(&seen).cut(&seen.targets_bld).unwrap();
        assert_eq!(cut.size(), [2, 3, 1], "the longer two of three rows, cut to the shorter of them");
        assert_eq!(Vec::<f64>::try_from(cut.reshape([-1])).unwrap(), [10., 11., 12., 20., 21., 22.]);
        seen.padding_bl = None;
        assert_eq!(RealPart::of(&seen).cut(&seen.targets_bld).unwrap().size(), [3, 4, 1], "without padding");
    }

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

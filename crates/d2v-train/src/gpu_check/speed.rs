//! Rates of the training step at growing batch sizes.

use super::Plan;
use super::timed::Timed;
use crate::config::Precision;
use crate::machine::matmul_tflops;
use crate::recipes::{LearnerConfig, Modality};
use crate::step::Learner;
use crate::step_parts::{Part, PartTimes, mean_parts, timed_step};
use crate::step_timing::{StepTiming, Workload, set_deterministic, settings, time_steps};
use d2v_torch::cuda;
use serde::Serialize;
use std::time::{Duration, Instant};
use tch::{Device, Kind};

/// Steps whose parts are timed.
const PART_STEPS: u64 = 3;
/// Share of a device's memory that a step may be expected to take.
const MEMORY_SHARE: f64 = 0.85;

/// One modality in one precision at all batch sizes that fit.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// What the network is for.
    pub modality: Modality,
    /// Kind of the matrix products.
    pub precision: Precision,
    /// The rate of large square products in this kind, 10^12 operations per second.
    pub ceiling_tflops: f64,
    /// Smallest batch first.
    pub timings: Vec<StepTiming>,
    /// The batch with most samples per second again, with kernels that give the same bits every time.
    pub deterministic: Option<StepTiming>,
    /// Milliseconds of a step of that batch where steps are queued one behind the other, as in training: what it takes
    /// less than the timed step is the host's gap between two steps.
    pub queued_ms: Option<f64>,
    /// Where the time of that batch goes, in milliseconds.
    pub parts_ms: Vec<(Part, f64)>,
}

impl Series {
    /// The batch with most samples per second.
    pub fn best(&self) -> Option<&StepTiming> {
        self.timings.iter().max_by(|a, b| a.samples_per_s.total_cmp(&b.samples_per_s))
    }

    /// Achieved rate over that of large products.
    pub fn share_of_ceiling(&self, timing: &StepTiming) -> f64 {
        timing.tflops / self.ceiling_tflops
    }
}

/// Times the plan's steps, all modalities of one precision before the next; the first precision takes half of the time
/// that is left, the last all of it.
///
/// # Errors
/// If libtorch refuses.
pub fn measure(device: Device, plan: &Plan, deadline: Instant) -> anyhow::Result<Vec<Series>> {
    let mut all = Vec::with_capacity(plan.precisions.len() * plan.timed.len());
    for (index, &precision) in plan.precisions.iter().enumerate() {
        let last = index + 1 == plan.precisions.len();
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + if last { left } else { left / 2 };
        for (index, timed) in plan.timed.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let until = Instant::now() + left / (plan.timed.len() - index) as u32;
            all.push(series(device, plan, timed, precision, until)?);
        }
    }
    Ok(all)
}

fn series(
    device: Device,
    plan: &Plan,
    timed: &Timed,
    precision: Precision,
    until: Instant,
) -> crate::Result<Series> {
    set_deterministic(device, false)?;
    d2v_torch::settings::set_tf32(precision != Precision::F32)?;
    let ceiling_tflops = matmul_tflops(device, precision.kind(), Duration::from_secs(1));
    let mut learner = timed.recipe.learner(device, Kind::Float, 0)?;
    let mut timings: Vec<StepTiming> = Vec::new();
    for &batch in &timed.batches {
        if !worth_trying(device, &timings, batch, until)? {
            break;
        }
        timings.push(time_steps(
            &mut learner,
            &timed.recipe,
            device,
            &workload(plan, batch, precision, until),
        )?);
    }
    let modality = timed.modality;
    let mut series = Series {
        modality,
        precision,
        ceiling_tflops,
        timings,
        deterministic: None,
        queued_ms: None,
        parts_ms: Vec::new(),
    };
    let Some(best) = series.best().map(|best| best.batch) else { return Ok(series) };
    if Instant::now() < until {
        series.queued_ms = Some(queued_ms(&mut learner, &timed.recipe, best, precision, device)?);
    }
    if Instant::now() < until {
        series.parts_ms = parts(&mut learner, &timed.recipe, best, precision, device)?;
    }
    if Instant::now() < until {
        set_deterministic(device, true)?;
        let timing = time_steps(&mut learner, &timed.recipe, device, &workload(plan, best, precision, until));
        set_deterministic(device, false)?;
        series.deterministic = Some(timing?);
    }
    Ok(series)
}

fn workload(plan: &Plan, batch: usize, precision: Precision, until: Instant) -> Workload {
    let budget = Some(until.saturating_duration_since(Instant::now()) / 2);
    Workload { batch, precision, recompute: false, warmup: plan.steps.0, steps: plan.steps.1, budget }
}

/// Whether time and memory allow `batch`, judged by the last timing: memory grows at most as the batch does.
fn worth_trying(device: Device, timings: &[StepTiming], batch: usize, until: Instant) -> crate::Result<bool> {
    let Some(last) = timings.last() else { return Ok(true) };
    let growth = batch as f64 / last.batch as f64;
    let seconds = last.ms_max / 1e3 * growth * (last.steps + 1) as f64;
    if Instant::now() + Duration::from_secs_f64(seconds) > until {
        return Ok(false);
    }
    let Device::Cuda(index) = device else { return Ok(true) };
    let limit = cuda::memory(index)?.total as f64 * MEMORY_SHARE;
    Ok((last.peak_mib << 20) as f64 * growth <= limit)
}

/// Time of a step where the host runs ahead of the device: one batch again and again, nothing read in between.
fn queued_ms(
    learner: &mut Learner,
    config: &LearnerConfig,
    batch: usize,
    precision: Precision,
    device: Device,
) -> crate::Result<f64> {
    let batch = [config.noise(batch, 0, device)?];
    cuda::synchronize(device);
    let start = Instant::now();
    for update in 1..=PART_STEPS {
        learner.queue(&batch, &settings(update, precision))?;
    }
    cuda::synchronize(device);
    Ok(start.elapsed().as_secs_f64() * 1e3 / PART_STEPS as f64)
}

fn parts(
    learner: &mut Learner,
    config: &LearnerConfig,
    batch: usize,
    precision: Precision,
    device: Device,
) -> crate::Result<Vec<(Part, f64)>> {
    let times = (1..=PART_STEPS).map(|update| {
        let batch = config.noise(batch, update, device)?;
        Ok(timed_step(learner, config, &batch, &settings(update, precision))?.1)
    });
    let times: Vec<PartTimes> = times.collect::<crate::Result<_>>()?;
    Ok(Part::ALL.into_iter().zip(mean_parts(&times)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_grows_to_the_last_batch_and_looks_into_the_best() {
        let plan = Plan { precisions: vec![Precision::F32], ..Plan::of(Device::Cpu) };
        let all = measure(Device::Cpu, &plan, Instant::now() + Duration::from_secs(60)).unwrap();
        let modalities: Vec<Modality> = all.iter().map(|series| series.modality).collect();
        assert_eq!(modalities, [Modality::Image, Modality::Audio, Modality::Text]);
        for series in &all {
            assert_eq!(series.timings.iter().map(|timing| timing.batch).collect::<Vec<_>>(), [1, 2]);
            let best = series.best().unwrap();
            assert_eq!(series.deterministic.as_ref().unwrap().batch, best.batch);
            assert!(series.queued_ms.is_some_and(|ms| ms > 0.0), "{series:?}");
            assert_eq!(series.parts_ms.len(), Part::ALL.len());
            assert!(series.share_of_ceiling(best) > 0.0 && series.share_of_ceiling(best) < 1.0, "{series:?}");
        }
    }

    #[test]
    fn nothing_is_begun_that_cannot_end_in_time() {
        let timing = StepTiming {
            batch: 8,
            steps: 10,
            ms_per_step: 900.0,
            ms_min: 800.0,
            ms_max: 1000.0,
            samples_per_s: 8.0,
            step_gflop: 1.0,
            tflops: 1.0,
            peak_mib: 100,
            loss: 1.0,
        };
        let soon = Instant::now() + Duration::from_secs(15);
        assert!(
            !worth_trying(Device::Cpu, std::slice::from_ref(&timing), 16, soon).unwrap(),
            "22 s do not fit into 15"
        );
        assert!(worth_trying(Device::Cpu, &[timing], 9, soon).unwrap(), "12 s do");
        assert!(worth_trying(Device::Cpu, &[], 512, soon).unwrap(), "the first always");
    }
}

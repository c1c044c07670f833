//! How long a training step takes, as a whole.

use crate::Result;
use crate::config::Precision;
use crate::machine::peak_memory_bytes;
use crate::recipes::LearnerConfig;
use crate::step::{Learner, StepSettings};
use d2v_torch::cuda;
use serde::Serialize;
use std::time::{Duration, Instant};
use tch::Device;

/// What to time.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Samples per step.
    pub batch: usize,
    /// Kind of the matrix products.
    pub precision: Precision,
    /// Whether the backward pass makes the inside of blocks again.
    pub recompute: bool,
    /// Steps that are not timed: allocators and kernels settle.
    pub warmup: usize,
    /// Steps that are timed; at least 1 is taken.
    pub steps: usize,
    /// No further step is timed after this long.
    pub budget: Option<Duration>,
}

/// Times of a step, as measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTiming {
    /// Samples per step.
    pub batch: usize,
    /// Steps timed.
    pub steps: usize,
    /// Median time of a step in milliseconds.
    pub ms_per_step: f64,
    /// Shortest.
    pub ms_min: f64,
    /// Longest.
    pub ms_max: f64,
    /// Samples per second at the median.
    pub samples_per_s: f64,
    /// 10^9 operations of a step, see [`LearnerConfig::peer_flops`].
    pub step_gflop: f64,
    /// 10^12 operations per second at the median.
    pub tflops: f64,
    /// Peak memory in MiB: held by tensors on a CUDA device, of the whole process so far on the CPU.
    pub peak_mib: u64,
    /// Loss of the last step.
    pub loss: f64,
}

/// The settings of step `update` in a timing.
pub fn settings(update: u64, precision: Precision) -> StepSettings {
    StepSettings {
        seed: 0,
        update,
        lr: 5e-4,
        tau: 0.999,
        precision: precision.kind(),
        recompute: false,
        observe: false,
    }
}

/// Asks a CUDA device for kernels that give the same bits every time, or for the fastest.
///
/// Those of the CPU give the same bits anyhow, for a given number of threads.
///
/// # Errors
/// If libtorch refuses.
pub fn set_deterministic(device: Device, on: bool) -> Result<()> {
    if device.is_cuda() {
        d2v_torch::settings::set_deterministic(on)?;
    }
    Ok(())
}

/// Times steps on noise; input and masks are made outside the timed region.
///
/// # Errors
/// If the batch does not fit the network, or libtorch refuses.
pub fn time_steps(
    learner: &mut Learner,
    config: &LearnerConfig,
    device: Device,
    work: &Workload,
) -> Result<StepTiming> {
    d2v_torch::settings::set_tf32(work.precision != Precision::F32)?;
    if let Device::Cuda(index) = device {
        cuda::reset_peak(index)?;
    }
    let started = Instant::now();
    let mut times_ms = Vec::with_capacity(work.steps);
    let mut loss = f64::NAN;
    for update in 1..=(work.warmup + work.steps.max(1)) as u64 {
        let batch = [config.noise(work.batch, update, device)?];
        cuda::synchronize(device);
        let start = Instant::now();
        let settings = StepSettings { recompute: work.recompute, ..settings(update, work.precision) };
        loss = learner.step(&batch, &settings)?.loss;
        cuda::synchronize(device);
        if update > work.warmup as u64 {
            times_ms.push(start.elapsed().as_secs_f64() * 1e3);
            if work.budget.is_some_and(|budget| started.elapsed() > budget) {
                break;
            }
        }
    }
    let flops = config.peer_flops(work.batch) as f64;
    let median = median(&mut times_ms);
    Ok(StepTiming {
        batch: work.batch,
        steps: times_ms.len(),
        ms_per_step: median,
        ms_min: times_ms[0],
        ms_max: times_ms[times_ms.len() - 1],
        samples_per_s: work.batch as f64 / median * 1e3,
        step_gflop: flops / 1e9,
        tflops: flops / median / 1e9,
        peak_mib: peak_bytes(device)? >> 20,
        loss,
    })
}

/// Peak of memory in bytes: of tensors on a CUDA device, of the process on the CPU (0 where the system tells none).
///
/// # Errors
/// If CUDA is not loaded.
pub fn peak_bytes(device: Device) -> Result<u64> {
    Ok(match device {
        Device::Cuda(index) => cuda::memory(index)?.peak.max(0) as u64,
        _ => peak_memory_bytes().unwrap_or(0),
    })
}

/// Sorts `times`, of which there is at least one, and returns the middle (the mean of the two middle ones).
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_transformer::Size;
    use tch::Kind;

    #[test]
    fn medians() {
        for (mut times, expected) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 8.0], 3.0)]
        {
            assert_eq!(median(&mut times), expected, "{times:?}");
        }
    }

    #[test]
    fn a_timing_is_consistent_with_itself() {
        let config = LearnerConfig::image(Size::Tiny).shrunk();
        let mut learner = config.learner(Device::Cpu, Kind::Float, 0).unwrap();
        let work = Workload {
            batch: 2,
            precision: Precision::F32,
            recompute: false,
            warmup: 1,
            steps: 3,
            budget: None,
        };
        let timing = time_steps(&mut learner, &config, Device::Cpu, &work).unwrap();
        assert_eq!((timing.batch, timing.steps), (2, 3));
        assert!(timing.ms_min <= timing.ms_per_step && timing.ms_per_step <= timing.ms_max, "{timing:?}");
        let gflop = timing.tflops * timing.ms_per_step;
        assert!((gflop - timing.step_gflop).abs() < 1e-9 * gflop, "{timing:?}");
        assert!(timing.loss.is_finite() && timing.peak_mib > 0, "{timing:?}");
        let hurried = Workload { budget: Some(Duration::ZERO), ..work };
        assert_eq!(time_steps(&mut learner, &config, Device::Cpu, &hurried).unwrap().steps, 1);
    }
}

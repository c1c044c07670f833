//! Memory does not grow over many steps.

use crate::config::Precision;
use crate::machine::memory_bytes;
use crate::recipes::LearnerConfig;
use crate::step_timing::settings;
use d2v_torch::cuda;
use serde::Serialize;
use std::time::Instant;
use tch::{Device, Kind};

/// Samples per step.
const BATCH: usize = 8;
/// What the process may take more at the end: pools and caches fill slowly.
const HOST_ALLOWED_BYTES: i64 = 48 << 20;
/// What tensors on the device may take more: nothing but rounding of the allocator.
const DEVICE_ALLOWED_BYTES: i64 = 1 << 20;

/// Memory after a tenth of the steps and at their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endurance {
    /// Steps asked for.
    pub steps_planned: u64,
    /// Steps done in the time there was.
    pub steps: u64,
    /// Growth of the process's memory in bytes; absent where the system does not tell.
    pub host_growth_bytes: Option<i64>,
    /// Growth of what tensors hold on the device in bytes; absent on the CPU.
    pub device_growth_bytes: Option<i64>,
}

impl Endurance {
    /// Whether all steps were done and memory stayed.
    pub fn passed(&self) -> bool {
        self.steps == self.steps_planned
            && self.host_growth_bytes.is_none_or(|bytes| bytes <= HOST_ALLOWED_BYTES)
            && self.device_growth_bytes.is_none_or(|bytes| bytes <= DEVICE_ALLOWED_BYTES)
    }
}

/// Steps of a small network until `steps` are done or `deadline` has come.
///
/// # Errors
/// If libtorch refuses.
pub fn check(
    device: Device,
    config: &LearnerConfig,
    steps: u64,
    deadline: Instant,
) -> anyhow::Result<Endurance> {
    let mut learner = config.learner(device, Kind::Float, 0)?;
    let mut settled = None;
    let mut done = 0;
    while done < steps && Instant::now() < deadline {
        done += 1;
        learner.step(&[config.noise(BATCH, done, device)?], &settings(done, Precision::Bf16))?;
        if done == steps.div_ceil(10) {
            settled = Some(Held::now(device)?);
        }
    }
    let end = Held::now(device)?;
    let growth = |of: fn(&Held) -> Option<i64>| Some(of(&end)? - of(settled.as_ref()?)?);
    Ok(Endurance {
        steps_planned: steps,
        steps: done,
        host_growth_bytes: growth(|held| held.host),
        device_growth_bytes: growth(|held| held.device),
    })
}

/// Bytes held now.
struct Held {
    host: Option<i64>,
    device: Option<i64>,
}

impl Held {
    fn now(device: Device) -> crate::Result<Held> {
        let device = match device {
            Device::Cuda(index) => Some(cuda::memory(index)?.allocated),
            _ => None,
        };
        Ok(Held { host: memory_bytes().map(|bytes| bytes as i64), device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_missing_steps_do_not_pass() {
        let good =
            Endurance { steps_planned: 9, steps: 9, host_growth_bytes: Some(-5), device_growth_bytes: None };
        assert!(good.passed());
        assert!(!Endurance { steps: 8, ..good.clone() }.passed(), "a step is missing");
        assert!(!Endurance { host_growth_bytes: Some(1 << 30), ..good.clone() }.passed(), "the process grew");
        assert!(
            !Endurance { device_growth_bytes: Some(2 << 20), ..good }.passed(),
            "the device's tensors grew"
        );
    }
}

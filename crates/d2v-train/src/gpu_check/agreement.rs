//! Each modality's step on the device beside the same step on the CPU, which the tests hold to the references.

use super::golden::{Compared, GoldenCheck};
use super::timed::Timed;
use crate::config::Precision;
use crate::recipes::LearnerConfig;
use crate::step::{Learner, MaskedBatch};
use crate::step_timing::settings;
use serde::Serialize;
use tch::{Device, Kind};

/// Samples per step, and updates.
const BATCH: usize = 4;
const UPDATES: u64 = 3;
/// What may change, relatively: losses and gradient norms over three updates.
const F32_NUMBER: f64 = 1e-4;
const BF16_NUMBER: f64 = 0.03;

/// What one modality gave, by precision.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// `image`, `audio` or `text`.
    pub modality: crate::recipes::Modality,
    /// Comparisons.
    pub checks: Vec<GoldenCheck>,
}

/// Steps of every recipe's small network, from the same start on the same batches.
///
/// # Errors
/// If libtorch refuses.
pub fn check_all(device: Device, recipes: &[Timed]) -> anyhow::Result<Vec<Agreement>> {
    recipes
        .iter()
        .map(|timed| {
            let config = timed.recipe.clone().shrunk();
            let expected = numbers(&config, Device::Cpu, Precision::F32)?;
            let check =
                |precision: Precision| {
                    let got = numbers(&config, device, precision)?;
                    let allowed = if precision == Precision::F32 { F32_NUMBER } else { BF16_NUMBER };
                    let compared = got.into_iter().zip(&expected).map(|((name, got), (_, expected))| {
                        Compared { name, off: (got - expected).abs() / expected.abs(), allowed }
                    });
                    Ok(GoldenCheck { precision, compared: compared.collect() })
                };
            let checks =
                [Precision::F32, Precision::Bf16].into_iter().map(check).collect::<anyhow::Result<_>>()?;
            Ok(Agreement { modality: timed.modality, checks })
        })
        .collect()
}

/// Loss and gradient norm of every update.
fn numbers(
    config: &LearnerConfig,
    device: Device,
    precision: Precision,
) -> anyhow::Result<Vec<(String, f64)>> {
    d2v_torch::settings::set_tf32(false)?;
    let mut learner: Learner = config.learner(device, Kind::Float, 7)?;
    // Start values may be drawn otherwise on another device.
    let host = config.learner(Device::Cpu, Kind::Float, 7)?;
    learner.student.network.parameters.copy_from(&host.student.network.parameters)?;
    learner.teacher.parameters.copy_from(&host.teacher.parameters)?;
    let mut all = Vec::new();
    for update in 1..=UPDATES {
        let host: MaskedBatch = config.noise(BATCH, update, Device::Cpu)?;
        let batch = host.try_map(|tensor| Ok(tensor.f_to_device(device)?))?;
        let report = learner.step(&[batch], &settings(update, precision))?;
        all.push((format!("loss {update}"), report.loss));
        all.push((format!("gradient norm {update}"), report.grad_norm));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_agrees_with_itself_and_bf16_within_its_bounds() {
        let all = check_all(Device::Cpu, &Timed::rehearsal()).unwrap();
        assert_eq!(all.len(), 3);
        for one in &all {
            let [full, low] = one.checks.as_slice() else { panic!("{one:?}") };
            assert!(full.compared.iter().all(|number| number.off == 0.0), "{one:#?}");
            assert!(low.passed() && low.compared.iter().any(|number| number.off > 1e-6), "{one:#?}");
        }
    }
}

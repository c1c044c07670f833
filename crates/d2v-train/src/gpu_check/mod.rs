//! Everything that can only be known on a GPU, checked and measured in one go, for `d2v gpu-check`.
//!
//! Parts run one after the other, each within its share of the time; a part that fails does not stop the others.
//! Reading order: [`golden`] and [`agreement`] is it right, [`resume`], [`killed`] and [`endurance`] does it last,
//! [`speed`] and [`peer`] is it fast.

pub mod agreement;
pub mod endurance;
pub mod golden;
pub mod killed;
pub mod part;
pub mod peer;
pub mod resume;
pub mod speed;
pub mod timed;

use crate::config::Precision;
use crate::doctor::Facts;
use crate::recipes::LearnerConfig;
use d2v_transformer::Size;
use part::{Outcome, Part};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Device;
use timed::Timed;

/// What to do on a device.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Size of the networks whose steps are timed.
    pub size: Size,
    /// Their recipes.
    pub timed: Vec<Timed>,
    /// Recipe of the small network that endurance and resume are tried on.
    pub small: LearnerConfig,
    /// This program, to be killed and started again; absent: that part is left out.
    pub program: Option<PathBuf>,
    /// Kinds of the matrix products, the most telling first.
    pub precisions: Vec<Precision>,
    /// Steps before the timed ones, and timed ones.
    pub steps: (usize, usize),
    /// Small steps after which memory must not have grown.
    pub endurance_steps: u64,
}

impl Plan {
    /// Base on a GPU; on the CPU the same parts in sizes that take a minute, to rehearse.
    pub fn of(device: Device) -> Plan {
        let small = LearnerConfig::image(Size::Tiny).shrunk();
        match device.is_cuda() {
            true => Plan {
                size: Size::Base,
                timed: Timed::base(),
                small,
                program: None,
                precisions: vec![Precision::Bf16, Precision::Tf32, Precision::F32],
                steps: (3, 10),
                endurance_steps: 1000,
            },
            false => Plan {
                size: Size::Tiny,
                timed: Timed::rehearsal(),
                small,
                program: None,
                precisions: vec![Precision::Bf16, Precision::F32],
                steps: (1, 2),
                endurance_steps: 200,
            },
        }
    }
}

/// Everything found, as in the result file.
#[derive(Debug, Serialize)]
pub struct GpuCheck {
    /// The device's name.
    pub device: String,
    /// Seconds in all.
    pub seconds: f64,
    /// Whether every part that ran did well.
    pub passed: bool,
    /// What the machine is.
    pub facts: Outcome<Facts>,
    /// The published network's case.
    pub golden: Outcome<Vec<golden::GoldenCheck>>,
    /// Every modality's step beside that of the CPU.
    pub agreement: Outcome<Vec<agreement::Agreement>>,
    /// Save, load, go on.
    pub resume: Outcome<resume::Resume>,
    /// A run killed and started again.
    pub killed: Outcome<killed::Killed>,
    /// Memory over many steps.
    pub endurance: Outcome<endurance::Endurance>,
    /// Rates.
    pub speed: Outcome<Vec<speed::Series>>,
    /// Rates of the same step in PyTorch.
    pub peer: Outcome<Vec<peer::PeerRun>>,
}

/// Runs all parts.
///
/// `say` is told what begins; `peer` is Python and the program to run in it.
pub fn check(
    device: Device,
    plan: &Plan,
    limit: Duration,
    peer: Option<&peer::Peer>,
    say: &dyn Fn(&str),
) -> GpuCheck {
    let started = Instant::now();
    let until = |share: f64| started + limit.mul_f64(share);
    let part = |name: &str, share: f64| {
        say(name);
        Part { deadline: until(share) }
    };
    let facts = part("what the machine is", 0.05).run(|_| Ok(Facts::gather(true)));
    let golden = part("the published network's numbers", 0.1).run(|_| golden::check_all(device));
    let agreement =
        part("each modality beside the CPU", 0.15).run(|_| agreement::check_all(device, &plan.timed));
    let resume = part("saving, loading, going on", 0.2).run(|_| resume::check(device, &plan.small));
    let killed = match &plan.program {
        None => Outcome::Skipped { why: "this program is not known by its path".into() },
        Some(program) => part("a run killed and started again", 0.3)
            .run(|deadline| killed::check(program, device, deadline)),
    };
    let endurance = part("memory over many steps", 0.4)
        .run(|deadline| endurance::check(device, &plan.small, plan.endurance_steps, deadline));
    let speed_share = if peer.is_some() { 0.65 } else { 0.95 };
    let speed = part("speed", speed_share).run(|deadline| speed::measure(device, plan, deadline));
    let peer = match peer {
        None => Outcome::Skipped { why: "no --python and --peer given".into() },
        Some(peer) => {
            let series = speed.done().map_or(&[][..], |series| series.as_slice());
            part("the same step in PyTorch", 0.98)
                .run(|deadline| peer.run(device, plan.size, series, deadline))
        }
    };
    let passed = facts.passed(|_| true)
        && golden.passed(|checks| checks.iter().all(golden::GoldenCheck::passed))
        && agreement.passed(|all| all.iter().flat_map(|one| &one.checks).all(golden::GoldenCheck::passed))
        && resume.passed(|resume| resume.identical)
        && killed.passed(killed::Killed::passed)
        && endurance.passed(endurance::Endurance::passed)
        && speed.passed(|series| series.iter().all(|one| !one.timings.is_empty()))
        && peer.passed(|_| true);
    let device = crate::machine::device_name(device);
    let seconds = started.elapsed().as_secs_f64();
    GpuCheck { device, seconds, passed, facts, golden, agreement, resume, killed, endurance, speed, peer }
}

/// Name of the result file.
pub const RESULT_FILE: &str = "gpu-check.json";

/// Writes the result file into `folder`, which is made if missing.
///
/// # Errors
/// If it cannot be written.
pub fn write(check: &GpuCheck, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(RESULT_FILE);
    let text = serde_json::to_vec_pretty(check)?;
    crate::atomic_file::write_atomically(&path, |file| file.write_all(&text))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_on_the_cpu_passes_and_leaves_a_file() {
        let plan = Plan { precisions: vec![Precision::F32], endurance_steps: 20, ..Plan::of(Device::Cpu) };
        let check = check(Device::Cpu, &plan, Duration::from_secs(120), None, &|_| ());
        let folder = tempfile::tempdir().unwrap();
        let path = write(&check, &folder.path().join("new")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(json["passed"], true, "{json:#}");
        assert_eq!(json["peer"]["state"], "skipped");
        for modality in 0..3 {
            assert_eq!(json["speed"]["result"][modality]["timings"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn without_time_parts_are_skipped_not_wrong() {
        let check = check(Device::Cpu, &Plan::of(Device::Cpu), Duration::ZERO, None, &|_| ());
        assert!(matches!(check.speed, Outcome::Skipped { .. }), "{:?}", check.speed);
        assert!(!check.passed, "nothing was checked");
    }
}

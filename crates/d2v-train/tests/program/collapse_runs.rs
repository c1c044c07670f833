//! Runs that collapse on purpose, each in one of the paper's ways (section 5, "Representation collapse"), and one that
//! does not: the watch tells them apart, with the cause, within the first few hundred updates.

use crate::tiny_run::{TinyRun, d2v};
use d2v_train::collapse::{RunState, Scenario, Verdict};

/// A run of `small.toml` with other settings, and the verdicts on it.
fn verdicts(settings: &[&str]) -> Vec<Verdict> {
    let run = TinyRun::new();
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small.toml");
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let output =
        d2v().args(["pretrain", "--config", recipe, "--out"]).arg(run.out()).args(settings).output().unwrap();
    assert!(output.status.success(), "{}", crate::tiny_run::stderr(&output));
    let lines = run.metrics().into_iter();
    lines.filter_map(|mut line| serde_json::from_value(line["verdict"].take()).ok()).collect()
}

/// Checks that the run is flagged, every time with this scenario, and in the end most of the time.
#[track_caller]
fn check_flagged(settings: &[&str], scenario: Scenario) {
    let verdicts = verdicts(settings);
    let flagged: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.state != RunState::Healthy).collect();
    let story: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    assert!(flagged.len() >= 3, "flagged {} times: {story:#?}", flagged.len());
    for verdict in flagged {
        assert_eq!(verdict.scenario, Some(scenario), "{story:#?}");
    }
}

#[test]
fn a_learning_rate_far_too_high() {
    let settings =
        ["learning_rate.peak_lr=0.03", "learning_rate.warmup={ steps = 0 }", "optimizer.clip_norm=1e9"];
    check_flagged(&settings, Scenario::LearningRate);
}

#[test]
fn a_teacher_that_is_the_student() {
    check_flagged(&["teacher.tau.value=0.0"], Scenario::Tau);
}

#[test]
fn targets_without_normalisation() {
    let settings = ["targets.per_layer=none", "targets.post=none", "teacher.tau.value=0.995"];
    check_flagged(&settings, Scenario::CorrelatedTargets);
}

#[test]
fn a_healthy_run_is_left_alone() {
    let verdicts = verdicts(&["learning_rate.peak_lr=1e-3"]);
    assert_eq!(verdicts.len(), 13, "an observation every 20 updates, and at the end");
    for verdict in verdicts {
        assert_eq!(verdict.state, RunState::Healthy, "{verdict}");
    }
}

//! Runs that collapse on purpose, each in one of the paper's ways (section 5, "Representation collapse"), and one that
//! does not, on pictures and on speech: the watch tells them apart, with the cause, within the first few hundred updates.

use crate::tiny_run::{TinyRun, stderr};
use d2v_train::collapse::{RunState, Scenario, Verdict};

const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small.toml");
const SPEECH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small-speech.toml");

/// Looks of the watch in 240 updates: one every 20, and at the end.
const LOOKS: usize = 13;

/// A run of a recipe with other settings, and the verdicts on it.
fn verdicts(recipe: &str, settings: &[&str]) -> Vec<Verdict> {
    let run = TinyRun::of(recipe);
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let output = run.output(&settings);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = run.metrics().into_iter();
    lines.filter_map(|mut line| serde_json::from_value(line["verdict"].take()).ok()).collect()
}

/// Checks that the run is flagged, every time with this scenario, and in the end most of the time.
#[track_caller]
fn check_flagged(recipe: &str, settings: &[&str], scenario: Scenario) {
    let verdicts = verdicts(recipe, settings);
    let flagged: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.state != RunState::Healthy).collect();
    let story: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    assert!(flagged.len() >= 3, "flagged {} times: {story:#?}", flagged.len());
    for verdict in flagged {
        assert_eq!(verdict.scenario, Some(scenario), "{story:#?}");
    }
}

/// Checks that nothing is ever said against the run.
#[track_caller]
fn check_healthy(recipe: &str, settings: &[&str]) {
    let verdicts = verdicts(recipe, settings);
    assert_eq!(verdicts.len(), LOOKS, "an observation every 20 updates, and at the end");
    for verdict in verdicts {
        assert_eq!(verdict.state, RunState::Healthy, "{verdict}");
    }
}

const RATE_FAR_TOO_HIGH: [&str; 3] =
    ["learning_rate.peak_lr=0.03", "learning_rate.warmup={ steps = 0 }", "optimizer.clip_norm=1e9"];
const TEACHER_IS_STUDENT: [&str; 1] = ["teacher.tau.value=0.0"];
const TARGETS_AS_THEY_ARE: [&str; 3] =
    ["targets.per_layer=none", "targets.post=none", "teacher.tau.value=0.995"];

#[test]
fn a_learning_rate_far_too_high() {
    check_flagged(PICTURES, &RATE_FAR_TOO_HIGH, Scenario::LearningRate);
}

#[test]
fn a_teacher_that_is_the_student() {
    check_flagged(PICTURES, &TEACHER_IS_STUDENT, Scenario::Tau);
}

#[test]
fn targets_without_normalisation() {
    check_flagged(PICTURES, &TARGETS_AS_THEY_ARE, Scenario::CorrelatedTargets);
}

#[test]
fn a_healthy_run_is_left_alone() {
    check_healthy(PICTURES, &["learning_rate.peak_lr=1e-3"]);
}

#[test]
fn speech_with_a_learning_rate_far_too_high() {
    check_flagged(SPEECH, &RATE_FAR_TOO_HIGH, Scenario::LearningRate);
}

#[test]
fn speech_with_a_teacher_that_is_the_student() {
    check_flagged(SPEECH, &TEACHER_IS_STUDENT, Scenario::Tau);
}

#[test]
fn speech_with_targets_without_normalisation() {
    check_flagged(SPEECH, &TARGETS_AS_THEY_ARE, Scenario::CorrelatedTargets);
}

#[test]
fn a_healthy_run_on_speech_is_left_alone() {
    check_healthy(SPEECH, &[]);
}

//! Runs that collapse on purpose, each in one of the paper's ways (section 5, "Representation collapse"), and one that
//! does not, on pictures and on speech: the watch tells them apart, with the cause, within the first few hundred updates.

use crate::tiny_run::{TinyRun, read, stderr};
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
fn a_collapse_ends_the_run_with_4_where_asked_to() {
    let run = TinyRun::of(PICTURES);
    let settings = [&TEACHER_IS_STUDENT[..], &["collapse.stop=true"]].concat();
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let messages = run.run(&settings, 4);
    assert!(messages.contains("stopped, as configured (collapse.stop)"), "{messages}");
    assert!(messages.contains("tau is too low"), "the cause: {messages}");
    // What was learnt until then is saved, and told.
    let stopped = run.logged_step();
    assert!((50..240).contains(&stopped), "stopped at {stopped}");
    assert_eq!(run.checkpoints(), [stopped]);
    let page = String::from_utf8(read(&run.out().join("report.html"))).unwrap();
    assert!(page.contains("Collapsed"), "the report");
    assert!(!run.out().join("probe.json").exists(), "what did not finish is not probed");
}

/// An update that is skipped because it is not finite is counted where updates are made, and is no collapse.
#[test]
fn skipped_updates_are_no_collapse() {
    let run = TinyRun::new();
    let settings = [
        // The first update leaves weights that are finite, and whose products are not.
        "learning_rate={ kind = 'constant', peak_lr = 1e15 }",
        "train.max_skipped_in_a_row=3",
        "train.log_every_steps=1",
        "collapse.stop=true",
        "collapse.every_steps=1",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let messages = run.run(&settings, 4);
    assert!(messages.contains("3 updates in a row"), "{messages}");
    assert!(!messages.contains("collapse.stop"), "{messages}");
    for line in run.metrics().iter().filter(|line| line["step"].as_u64() > Some(1)) {
        assert!(line["verdict"].is_null(), "a look at a skipped update: {line}");
    }
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

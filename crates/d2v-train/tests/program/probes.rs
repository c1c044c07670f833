//! Probes by the program itself: at the end of a run, and by `d2v probe` on pictures, speech and text.

use crate::tiny_run::{TinyRun, d2v, read, stderr};
use serde_json::Value;
use std::path::Path;

const SPEECH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small-speech.toml");
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/text-tiny.toml");
/// A text recipe of seconds.
const SHORT_TEXT: [&str; 14] = [
    "--steps",
    "2",
    "--set",
    "model.transformer.depth=1",
    "--set",
    "targets.top_k=1",
    "--set",
    "train.batch_size=4",
    "--set",
    "data.synthetic_text.train_texts=300",
    "--set",
    "data.synthetic_text.test_texts=100",
    "--set",
    "train.probe_at_end=false",
];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

fn report(run: &TinyRun) -> String {
    String::from_utf8(read(&run.out().join("report.html"))).unwrap()
}

/// `d2v probe --json` with few samples, and its exit code.
#[track_caller]
fn probe(run: &TinyRun, arguments: &[&str], code: i32) -> Result<Value, String> {
    let small = ["--max-train", "120", "--max-test", "60", "--labels", "0", "--json"];
    let output = d2v().args(["probe", "--run"]).arg(run.out()).args(small).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    if code == 0 { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(stderr(&output)) }
}

/// Checks that every network was scored, on the headline and the last layer.
#[track_caller]
fn check_scores(record: &Value, classes: usize, test_part: &str) {
    assert_eq!(record["data"]["test_part"], test_part, "{record}");
    assert_eq!(record["data"]["classes"].as_array().map(Vec::len), Some(classes), "{record}");
    let entries = record["runs"][0]["entries"].as_array().expect("scores");
    // Three networks, two kinds of features, two probes.
    assert_eq!(entries.len(), 3 * 2 * 2, "{record}");
    for entry in entries {
        let accuracy = entry["accuracy"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&accuracy), "{entry}");
    }
}

#[test]
fn a_finished_run_has_its_probe_in_the_report() {
    let run = TinyRun::new();
    let on = ["--steps", "4", "--set", "train.probe_at_end=true", "--set", "data.synthetic.test_images=50"];
    let messages = run.run(&on, 0);
    assert!(messages.contains("100 training and 50 test samples"), "{messages}");
    let record = json(&run.out().join("probe.json"));
    assert_eq!(record["runs"][0]["entries"].as_array().map(Vec::len), Some(2 * 2 * 2), "{record}");
    assert!(report(&run).contains("student - random init"), "no table");
    // Done before and probed: not again. Probed no more, or not yet: it may be asked for.
    assert!(!run.run(&on, 0).contains("probing"));
    std::fs::remove_file(run.out().join("probe.json")).unwrap();
    let off = [&on[..2], &on[4..]].concat();
    assert!(!run.run(&off, 0).contains("probing"));
    assert!(run.run(&on, 0).contains("probing"));
}

#[test]
fn a_run_on_data_without_labels_ends_as_well() {
    let data = tempfile::tempdir().unwrap();
    for index in 0..16u8 {
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([index * 15; 3]));
        picture.save(data.path().join(format!("{index}.png"))).unwrap();
    }
    let run = TinyRun::new();
    let place = data.path().to_str().unwrap();
    let messages = run.run(&["--steps", "2", "--data", place, "--set", "train.probe_at_end=true"], 0);
    assert!(messages.contains("no labels"), "{messages}");
    assert!(report(&run).contains("Not measured yet"), "the page says how to probe");
}

#[test]
fn speech_is_probed_by_word_and_by_speaker() {
    let run = TinyRun::of(SPEECH);
    run.run(&["--steps", "2", "--set", "train.batch_seconds=6"], 0);
    check_scores(&probe(&run, &[], 0).unwrap(), 12, "given");
    check_scores(&probe(&run, &["--by-group", "speaker 2", "speaker 7"], 0).unwrap(), 12, "held-out-groups");
    let refused = probe(&run, &["--by-group", "nobody"], 2).unwrap_err();
    assert!(refused.contains("there is no group 'nobody'; the groups are speaker 0"), "{refused}");
}

#[test]
fn text_is_probed_on_its_own_language_and_on_a_table() {
    let run = TinyRun::of(TEXT);
    run.run(&SHORT_TEXT, 0);
    let record = probe(&run, &[], 0).unwrap();
    let classes = record["data"]["classes"].as_array().map_or(0, Vec::len);
    check_scores(&record, classes, "given");

    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.tsv");
    let rows =
        (0..100).map(|row| format!("{}\t{}\n", ["a b a b", "c d c d c d"][row % 2], ["x", "y"][row % 2]));
    std::fs::write(&table, format!("line\tkind\n{}", rows.collect::<String>())).unwrap();
    let table = ["--data", table.to_str().unwrap(), "--text-column", "line"];
    let record = probe(&run, &[&table[..], &["--label-column", "kind"]].concat(), 0).unwrap();
    check_scores(&record, 2, "held-out");
    let refused = probe(&run, &[&table[..], &["--label-column", "sort"]].concat(), 3).unwrap_err();
    assert!(refused.contains("sort"), "{refused}");
}

#[test]
fn pairs_of_runs_and_controls_are_one_command() {
    let runs = [0, 1].map(|seed| {
        let (run, control) = (TinyRun::new(), TinyRun::new());
        let seed = format!("seed={seed}");
        run.run(&["--steps", "2", "--set", &seed], 0);
        let frozen = "teacher.tau={ kind = 'constant', value = 1.0 }";
        control.run(&["--steps", "2", "--set", &seed, "--set", frozen], 0);
        (run, control)
    });
    let small = ["--max-train", "100", "--max-test", "50", "--labels", "0"];
    let mut command = d2v();
    command.arg("probe").args(small);
    for (run, control) in &runs {
        command.arg("--run").arg(run.out()).arg("--control").arg(control.out());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let over_control = printed.lines().find(|line| line.contains("student - control")).expect("a row");
    assert!(over_control.contains('±'), "mean and standard error over pairs: {over_control}");
    assert!(printed.contains("Each run is compared with a control of its own"), "{printed}");
    // The old form: one control for all.
    let mut command = d2v();
    command.arg("probe").args(small).arg("--control").arg(runs[0].1.out());
    for (run, _) in &runs {
        command.arg("--run").arg(run.out());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("student - control"));
}

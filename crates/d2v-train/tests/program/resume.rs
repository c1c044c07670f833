//! A run that is interrupted ends like one that is not: same weights, same optimizer, same log, bit for bit.

use crate::tiny_run::{Running, STEPS, TinyRun, read};
use d2v_torch::seed;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Kills in [`killed_at_any_moment`], unless `D2V_KILLS` says another number.
const KILLS: u64 = 5;
/// Updates of so many micro-batches of 8 that one takes far longer than two signals or another start of the program.
const LONG_UPDATES: [&str; 6] = [
    "--set",
    "train.accumulate=4000",
    "--set",
    "train.batch_size=32000",
    "--set",
    "data.synthetic.train_images=40000",
];

/// The run that all others here are compared with: never interrupted.
fn uninterrupted() -> &'static TinyRun {
    static RUN: OnceLock<TinyRun> = OnceLock::new();
    RUN.get_or_init(|| {
        let run = TinyRun::new();
        run.run(&[], 0);
        assert_eq!(run.checkpoints(), [STEPS - 5, STEPS], "the last two are kept");
        run
    })
}

/// A number in [0, 1) that is the same in every run of the tests.
fn random(index: u64) -> f64 {
    seed::unit(&[2022, index])
}

/// Starts the run and waits until the log has a line that it had not before, of `step` or later.
#[track_caller]
fn start_and_wait_for(run: &TinyRun, arguments: &[&str], step: u64) -> Running {
    let wanted = step.max(run.logged_step() + 1);
    let mut running = run.start(arguments);
    assert!(running.wait_until("a step", || run.logged_step() >= wanted), "ended before step {wanted}");
    running
}

#[test]
fn killed_at_any_moment() {
    let kills = std::env::var("D2V_KILLS").map_or(KILLS, |n| n.parse().expect("D2V_KILLS is a number"));
    // Long enough for every kill to find it under way.
    let steps = 40 + 15 * kills;
    let length = ["--steps", &steps.to_string()];
    let expected = TinyRun::new();
    expected.run(&length, 0);
    let run = TinyRun::new();
    for kill in 0..kills {
        let wait_up_to = |seconds: f64| std::thread::sleep(Duration::from_secs_f64(seconds * random(kill)));
        let running = match kill % 5 {
            // While the program starts.
            1 => {
                let running = run.start(&length);
                wait_up_to(0.1);
                running
            }
            // While it opens the run: after this file it measures the machine, for 0.3 s at least.
            3 => {
                let sessions =
                    || std::fs::metadata(run.out().join("sessions.jsonl")).map_or(0, |file| file.len());
                let before = sessions();
                let mut running = run.start(&length);
                assert!(running.wait_until("a session", || sessions() > before), "ended before it began");
                wait_up_to(0.2);
                running
            }
            // While it trains.
            _ => {
                let running = start_and_wait_for(&run, &length, (steps - 20) * kill / kills);
                wait_up_to(0.02);
                running
            }
        };
        assert!(running.kill(), "the run ended before kill {kill}");
    }
    run.run(&length, 0);
    run.assert_ended_like(&expected, &format!("{kills} kills"));
}

#[test]
fn signals_save_and_the_run_goes_on() {
    let expected = uninterrupted();
    let run = TinyRun::new();
    for (step, signal, code) in [(3, "INT", 130), (18, "TERM", 143)] {
        let running = start_and_wait_for(&run, &[], step);
        running.signal(signal);
        assert_eq!(running.end().code(), Some(code), "{signal}");
        let saved = run.checkpoints().pop().expect("a signal saves");
        assert!((step..STEPS).contains(&saved), "{signal}: saved at step {saved}, after step {step}");
        assert!(run.out().join("report.html").exists(), "{signal}: report");
    }
    run.run(&[], 0);
    run.assert_ended_like(expected, "signals");
}

#[test]
fn a_second_signal_ends_at_once() {
    let run = TinyRun::new();
    let mut running = run.start(&LONG_UPDATES);
    assert!(running.wait_until("the start", || run.out().join("metrics.jsonl").exists()), "ended early");
    running.signal("INT");
    std::thread::sleep(Duration::from_millis(200));
    assert!(running.is_running(), "the first signal waits for the step");
    running.signal("TERM");
    let sent = Instant::now();
    assert_eq!(running.end().code(), Some(143));
    assert!(sent.elapsed() < Duration::from_secs(5), "took {:?}", sent.elapsed());
    assert_eq!(run.checkpoints(), [0; 0], "nothing is saved in the middle of a step");
}

#[test]
fn a_signal_during_the_last_update_has_nothing_to_stop() {
    let run = TinyRun::new();
    let last = [
        &["--steps", "1", "--set", "train.accumulate=1000", "--set", "train.batch_size=8000"][..],
        &["--set", "data.synthetic.train_images=10000"],
    ]
    .concat();
    let mut running = run.start(&last);
    assert!(running.wait_until("the start", || run.out().join("metrics.jsonl").exists()), "ended early");
    running.signal("INT");
    assert_eq!(run.logged_step(), 0, "the update is over already: make it longer");
    assert_eq!(running.end().code(), Some(0), "the run is complete");
    assert_eq!(run.checkpoints(), [1]);
}

#[test]
fn micro_batches_change_rounding_alone() {
    let still = ["dropout", "attention_dropout", "drop_path", "layer_drop"]
        .map(|key| format!("model.transformer.{key}=0"));
    let common = ["--steps", "10", "--set", "train.log_every_steps=1"];
    let arguments: Vec<&str> =
        common.into_iter().chain(still.iter().flat_map(|setting| ["--set", setting])).collect();
    let losses = |accumulate: &str| {
        let run = TinyRun::new();
        run.run(&[&arguments[..], &["--set", accumulate]].concat(), 0);
        run.metrics().iter().map(|line| line["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (whole, split) = (losses("train.accumulate=1"), losses("train.accumulate=2"));
    assert_eq!((whole.len(), split.len()), (10, 10));
    for (whole, split) in whole.iter().zip(&split) {
        assert!((whole - split).abs() < 1e-4 * whole, "{whole} and {split}");
    }
}

#[test]
fn a_checkpoint_is_written_once() {
    let run = TinyRun::new();
    run.run(&["--steps", "10"], 0);
    let state = run.out().join("checkpoints/step-10/state.json");
    let written = || std::fs::metadata(&state).unwrap().modified().unwrap();
    let before = written();
    assert!(run.run(&["--steps", "10"], 0).contains("nothing to do"));
    assert_eq!(written(), before, "a finished run is left as it is");
}

#[test]
fn threads_of_the_loader_change_nothing() {
    let run = TinyRun::new();
    run.run(&["--set", "data.threads=3", "--set", "data.queue=2"], 0);
    run.assert_ended_like(uninterrupted(), "three threads");
}

/// Batches by length, padding, crops, replaced words: whatever a modality draws goes on where it was.
#[test]
fn speech_and_text_go_on_like_pictures() {
    let common = ["--steps", "12", "--set", "checkpoint.every_steps=3", "--set", "train.log_every_steps=1"];
    let small = ["model.transformer.depth=1", "targets.top_k=1", "train.probe_at_end=false"];
    let small = small.map(|setting| ["--set", setting]).concat();
    let speech = ["--set", "train.batch_seconds=5", "--set", "data.synthetic_audio.train_sounds=30"];
    let padded = ["--set", "data.transform.ragged=pad"];
    let text = ["--set", "train.batch_size=4", "--set", "data.synthetic_text.train_texts=30"];
    let words = ["--set", "mask.random_prob=0.1", "--set", "mask.leave_prob=0.1"];
    for (recipe, own) in [("speech-tiny", [&speech[..], &padded]), ("text-tiny", [&text[..], &words])] {
        let path = format!("{}/../../configs/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
        let arguments = [&common[..], &small, own[0], own[1]].concat();
        let expected = TinyRun::of(&path);
        expected.run(&arguments, 0);
        let run = TinyRun::of(&path);
        let threads = [&arguments[..], &["--set", "data.threads=3"]].concat();
        assert!(start_and_wait_for(&run, &threads, 5).kill(), "{recipe}: ended before the kill");
        run.run(&arguments, 0);
        run.assert_ended_like(&expected, recipe);
    }
}

/// Flips one bit in the middle of a file.
fn damage(path: &std::path::Path) {
    let mut bytes = read(path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    let run = TinyRun::new();
    run.run(&[], 0);
    let newest = run.checkpoint_file(STEPS, "teacher");
    damage(&newest);
    let messages = run.run(&[], 0);
    assert!(messages.contains(newest.to_str().unwrap()), "the file is named: {messages}");
    assert!(messages.contains("checksum"), "what is wrong is said: {messages}");
    assert!(messages.contains(&format!("from step {}", STEPS - 5)), "the one before it: {messages}");
    run.assert_ended_like(uninterrupted(), "damaged");
}

#[test]
fn no_intact_checkpoint_is_an_error_and_nothing_is_lost() {
    let run = TinyRun::new();
    run.run(&[], 0);
    let files = [STEPS - 5, STEPS].map(|step| run.checkpoint_file(step, "student"));
    files.iter().for_each(|file| damage(file));
    let log = read(&run.out().join("metrics.jsonl"));
    let messages = run.run(&[], 1);
    for file in &files {
        assert!(messages.contains(file.to_str().unwrap()), "{} is named: {messages}", file.display());
        assert!(file.exists(), "{} is gone", file.display());
    }
    assert_eq!(read(&run.out().join("metrics.jsonl")), log, "the log is left alone");
}

#[test]
fn other_settings_are_refused_by_name() {
    let run = TinyRun::new();
    run.run(&["--steps", "2"], 0);
    let check = |arguments: &[&str], key: &str| {
        let messages = run.run(arguments, 2);
        assert!(messages.contains(&format!("`{key}`")), "{messages}");
    };
    check(&["--steps", "2", "--set", "optimizer.weight_decay=0.1"], "optimizer.weight_decay");
    check(&["--steps", "2", "--set", "seed=4"], "seed");
    check(&["--steps", "3"], "train.length.steps");
    // What does not change what is learnt may change.
    run.run(&["--steps", "2", "--set", "checkpoint.keep_last=3", "--set", "data.threads=2"], 0);
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let run = TinyRun::new();
    let mut running = run.start(&LONG_UPDATES);
    assert!(running.wait_until("the start", || run.out().join("metrics.jsonl").exists()), "ended early");
    let messages = run.run(&LONG_UPDATES, 1);
    assert!(messages.contains("another run is writing"), "{messages}");
}

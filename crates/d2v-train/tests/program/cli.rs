//! What other tools rely on: exit codes, messages that name the way out, files and columns of a run folder.

use crate::tiny_run::{TINY, TinyRun, d2v, read, stderr};
use d2v_train::commands::recipe::RecipeArgs;
use d2v_train::config::RunConfig;
use d2v_train::schedule::Pace;
use d2v_train::settings::{self, Source};
use std::path::{Path, PathBuf};

/// Runs with `arguments` and checks the exit code and that each of `parts` is in the messages.
#[track_caller]
fn check(arguments: &[&str], code: i32, parts: &[&str]) {
    let messages = TinyRun::new().run(arguments, code);
    for part in parts {
        assert!(messages.contains(part), "{arguments:?}: no {part:?} in: {messages}");
    }
    assert!(!messages.contains('\u{1b}'), "control codes without a terminal: {messages}");
}

#[test]
fn mistakes_of_usage_end_with_2_and_name_the_way_out() {
    check(&["--stepps", "3"], 2, &["--stepps", "--steps"]);
    check(&["--steps", "many"], 2, &["many", "--steps"]);
    check(&["--set", "train.batchsize=8"], 2, &["train.batchsize", "nearest is `train.batch_size`"]);
    check(&["--set", "train.batch_size=no"], 2, &["train.batch_size=no"]);
    check(&["--set", "train"], 2, &["key=value"]);
    let output = d2v().args(["pretrain", "--config", "nowhere.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nowhere.toml: give the path"), "{}", stderr(&output));
}

#[test]
fn settings_out_of_range_end_with_2_and_name_the_key() {
    let check_setting = |setting: &str, key: &str| check(&["--set", setting], 2, &[key]);
    check_setting("train.batch_size=0", "train.batch_size");
    check_setting("train.accumulate=0", "train.accumulate");
    check_setting("train.accumulate=3", "train.batch_size = 8: is the batch of an update");
    check_setting("train.length={ steps = 0 }", "the run has 0 steps");
    check_setting("model.transformer.heads=5", "heads");
    check_setting("model.encoder.image_size=20", "data.transform.geometry.size_px");
    check_setting("mask.target_count=17", "target_count");
    check_setting("targets.top_k=3", "top_k");
    check_setting("teacher.tau.end=1.5", "teacher.tau.end");
    check_setting("optimizer.beta2=1.0", "optimizer.beta2");
    check_setting("learning_rate.warmup={ fraction = 2 }", "warmup");
    check_setting("collapse.low_tau=2.0", "collapse.low_tau");
    check_setting("data.transform.flip_probability=2.0", "flip_probability");
    check_setting("data.threads=2000", "threads");
}

#[test]
fn devices_that_are_not_there_end_with_2() {
    check(&["--device", "gpu"], 2, &["unknown device `gpu`", "cpu, cuda or cuda:N"]);
    check(&["--device", "cuda:x"], 2, &["unknown device `cuda:x`"]);
    // The tests hide GPUs from the program.
    check(&["--device", "cuda"], 2, &["CUDA cannot be used", "d2v doctor"]);
}

#[test]
fn divergence_ends_with_4_and_leaves_the_batches() {
    let run = TinyRun::new();
    let overflowing = [
        "--set",
        "learning_rate={ kind = 'constant', peak_lr = 1e30 }",
        "--set",
        "train.max_skipped_in_a_row=3",
    ];
    let messages = run.run(&overflowing, 4);
    assert!(messages.contains("3 updates in a row"), "{messages}");
    let lines = run.metrics();
    let last = lines.last().expect("the run logged");
    let skipped = last["skipped_updates"].as_u64().expect("a count");
    assert!((1..=3).contains(&skipped), "skipped so far: {last}");
    assert!(run.out().join("report.html").exists(), "report");

    // The first update moves the weights beyond what f32 holds; those after it are skipped and kept for replay.
    for step in 2..=4 {
        let record: serde_json::Value =
            serde_json::from_slice(&read(&run.out().join(format!("skipped/step-{step}.json")))).unwrap();
        assert_eq!(record["step"], step);
        assert_eq!(record["sample_ids"].as_array().map(Vec::len), Some(8), "{record}");
        let tensors = read(&run.out().join(format!("skipped/step-{step}.safetensors")));
        let tensors = safetensors::SafeTensors::deserialize(&tensors).unwrap();
        assert_eq!(tensors.tensor("0.input").unwrap().shape(), [8, 3, 16, 16]);
        assert_eq!(tensors.tensor("0.mask").unwrap().shape(), [8, 16]);
    }
    assert_eq!(run.checkpoints(), [4], "what was learnt until then is saved");
}

/// A sentence of about ten words an update, of which this share is chosen.
fn sparse_text(probability: f64, settings: &[&str], code: i32) -> (TinyRun, String) {
    let run = TinyRun::of(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/text-tiny.toml"));
    let chosen = format!("mask.mask_prob={probability}");
    let own = ["train.batch_size=1", "train.log_every_steps=1", "train.probe_at_end=false", &chosen];
    let small = [
        "model.transformer.depth=1",
        "targets.top_k=1",
        "data.synthetic_text.train_texts=40",
        "data.synthetic_text.sentences=1",
    ];
    let all = own.iter().chain(&small).chain(settings).flat_map(|setting| ["--set", setting]);
    let messages = run.run(&["--steps", "40"].into_iter().chain(all).collect::<Vec<_>>(), code);
    (run, messages)
}

#[test]
fn updates_that_hide_one_position_or_none_are_no_end() {
    // One word or so is chosen of a sentence, so that none and a single one are met often.
    let (run, messages) = sparse_text(0.13, &["collapse.every_steps=1", "train.max_skipped_in_a_row=30"], 0);
    let lines = run.metrics();
    assert_eq!(lines.len(), 40, "a line per update");
    let skipped = lines[39]["skipped_updates"].as_u64().unwrap();
    assert!(skipped > 0, "no update hid nothing");
    assert_eq!(messages.matches("the masks hide nothing; the update is skipped").count() as u64, skipped);
    let without_spread = lines.iter().filter(|line| line["r2"].is_null());
    let single = without_spread.clone().filter(|line| line["masked_fraction"].as_f64() > Some(0.0)).count();
    assert!(single > 0, "no update hid a single position");
    for line in without_spread {
        assert!(line["target_std"].is_null() && line["verdict"].is_null(), "{line}");
    }
    assert!(!run.out().join("skipped").exists(), "there is nothing to replay");
}

#[test]
fn masks_that_never_hide_anything_end_with_2() {
    let (_, messages) = sparse_text(1e-6, &["train.max_skipped_in_a_row=4"], 2);
    assert!(
        messages.contains("update 4: the masks hide nothing; raise the masking probability"),
        "{messages}"
    );
}

#[test]
fn every_command_helps_with_examples() {
    let help = |arguments: &[&str]| {
        let output = d2v().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&["--help"]);
    assert!(overview.contains("Examples:") && overview.contains("Exit codes:"), "{overview}");
    let commands = overview.split("Commands:").nth(1).expect("a list of commands");
    let commands: Vec<&str> = commands
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|&command| command != "help")
        .collect();
    assert!(commands.contains(&"pretrain"), "{commands:?}");
    for command in commands {
        let text = help(&[command, "--help"]);
        assert!(text.contains("Examples:"), "{command}: {text}");
        assert!(text.contains(&format!("d2v {command}")), "{command}: an example calls it: {text}");
    }
}

#[test]
fn a_run_folder_has_what_other_tools_read() {
    let run = TinyRun::new();
    run.run(&["--steps", "10", "--set", "train.log_every_steps=1"], 0);
    for file in ["config.toml", "metrics.jsonl", "report.html", "sessions.jsonl", "tensorboard"] {
        assert!(run.out().join(file).exists(), "{file}");
    }
    assert_eq!(run.checkpoints(), [5, 10]);
    for file in ["student.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json"] {
        assert!(run.out().join("checkpoints/step-10").join(file).exists(), "{file}");
    }

    let lines = run.metrics();
    let steps: Vec<u64> = lines.iter().filter_map(|line| line["step"].as_u64()).collect();
    assert_eq!(steps, (1..=10).collect::<Vec<_>>(), "a line per update");
    let always = [
        "step",
        "epoch",
        "samples",
        "loss",
        "lr",
        "tau",
        "grad_norm",
        "target_std",
        "prediction_std",
        "r2",
        "masked_fraction",
        "samples_per_second",
        "data_wait",
        "seconds",
    ];
    for line in &lines {
        for column in always {
            assert!(line[column].is_number(), "{column} in {line}");
        }
        // Measured where the watch looks, after steps 0 and 7 and the last.
        for column in ["effective_rank", "position_share"] {
            let watched = matches!(line["step"].as_u64(), Some(1 | 8 | 10));
            assert_eq!(line[column].is_number(), watched, "{column} in {line}");
        }
    }
    assert_eq!((&lines[9]["samples"], &lines[9]["masked_fraction"]), (&80.into(), &0.5625.into()));
}

#[test]
fn the_saved_configuration_is_the_one_that_ran() {
    let run = TinyRun::new();
    let arguments = ["--steps", "2", "--set", "loss.scale=one", "--set", "mask.max_block=5"];
    run.run(&arguments, 0);
    let saved = run.out().join("config.toml");
    let given = RecipeArgs {
        config: Some(TINY.into()),
        steps: Some(2),
        overrides: vec!["loss.scale=one".parse().unwrap(), "mask.max_block=5".parse().unwrap()],
        ..RecipeArgs::default()
    };
    let loaded: RunConfig = settings::load(&Source::read(&saved).unwrap(), &[]).unwrap();
    assert_eq!(loaded, given.load().unwrap());
    // As a configuration file it describes the same run, which is finished.
    let path = saved.to_str().expect("temporary folders have plain names");
    let output = d2v().args(["pretrain", "--config", path, "--out"]).arg(run.out()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing to do"), "{}", stderr(&output));
}

#[test]
fn recipes_without_a_folder_do_not_meet() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let other = place.path().join("other.toml");
    std::fs::copy(TINY, &other).unwrap();
    let run = |arguments: &[&str]| {
        let output = d2v().arg("pretrain").args(arguments).current_dir(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    };
    let data = place.path().join("my pictures");
    std::fs::create_dir(&data).unwrap();
    for index in 0..8u8 {
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([index * 30; 3]));
        picture.save(data.join(format!("{index}.png"))).unwrap();
    }
    run(&["--config", TINY, "--steps", "2"]);
    run(&["--config", "other.toml", "--steps", "1"]);
    run(&["--config", TINY, "--steps", "1", "--data", "my pictures"]);
    // The same command goes on where it was.
    run(&["--config", TINY, "--steps", "2"]);
    for folder in ["runs/tiny", "runs/other", "runs/tiny-my-pictures"] {
        assert!(place.path().join(folder).join("metrics.jsonl").exists(), "{folder}");
    }
}

#[test]
fn every_shipped_configuration_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("image-tiny.toml")), "{files:?}");
    for file in files {
        let config: RunConfig =
            settings::load(&Source::read(&file).unwrap(), &[]).unwrap_or_else(|e| panic!("{e}"));
        config.validate().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let pace = Pace::new(config.samples_per_update(), 50_000).unwrap();
        config.schedules_at(pace).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let text = String::from_utf8(read(&file)).unwrap();
        let head = || text.lines().take_while(|line| line.starts_with('#'));
        let told = |word: &str| {
            let begin = format!("#   {word}  ");
            head().any(|line| line.starts_with(&begin))
        };
        for word in ["command", "hardware", "time", "source"] {
            assert!(told(word), "{}: its head has no line `{word}`", file.display());
        }
        assert!(
            told("result") || told("expected"),
            "{}: its head says nothing of the outcome",
            file.display()
        );
    }
}

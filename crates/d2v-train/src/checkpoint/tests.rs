//! The promises of the whole store: what is saved comes back, what is damaged is named, a crash loses nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use super::*;

/// A run's state in small: what it says depends on the step alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    samples: u64,
    loss: f64,
    order: Vec<u32>,
}

fn state(step: u64) -> State {
    State { samples: step * 64, loss: 1.0 / (step as f64 + 3.0), order: vec![step as u32; 3] }
}

/// Tensors that depend on the step alone.
fn tensors(step: u64) -> CheckpointTensors {
    let named = |name: &str, scale: f64, kind| {
        let tensor = (Tensor::arange(6, (Kind::Double, Device::Cpu)) * scale + step as f64).to_kind(kind);
        BTreeMap::from([(name.to_owned(), tensor.reshape([2, 3]))])
    };
    CheckpointTensors {
        student: named("blocks.0.weight", 0.1, Kind::Float),
        teacher: named("blocks.0.weight", 0.2, Kind::Float),
        optimizer: named("blocks.0.weight.m", 0.3, Kind::BFloat16),
    }
}

fn open(run: &Path, keep_last: usize) -> CheckpointStore {
    let retention = Retention { keep_last: keep_last.try_into().unwrap(), keep_every: None };
    let versions = Versions { program: "0.1.0".to_owned(), libtorch: "2.11.0".to_owned() };
    CheckpointStore::open(run, retention, versions).unwrap()
}

/// Checks that the newest intact checkpoint is that of `step`, whole, and that the files in `damaged` are named.
#[track_caller]
fn check_latest(run: &Path, step: u64, damaged: &[&str]) {
    let latest = latest_intact::<State>(run).unwrap();
    let checkpoint = latest.checkpoint.unwrap();
    assert_eq!((checkpoint.step, checkpoint.state), (step, state(step)));
    let expected = tensors(step);
    for (read, written) in [
        (&checkpoint.tensors.student, &expected.student),
        (&checkpoint.tensors.teacher, &expected.teacher),
        (&checkpoint.tensors.optimizer, &expected.optimizer),
    ] {
        assert!(read.keys().eq(written.keys()));
        for (name, tensor) in written {
            assert_eq!((read[name].kind(), &read[name]), (tensor.kind(), tensor));
        }
    }
    let checkpoints = run.join("checkpoints");
    let named: Vec<_> =
        latest.damaged.iter().map(|damaged| damaged.file.strip_prefix(&checkpoints).unwrap()).collect();
    assert_eq!(named, damaged.iter().map(Path::new).collect::<Vec<_>>());
}

/// All names in the folder of checkpoints, sorted.
fn names(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

const FILES: [&str; 4] =
    ["student.safetensors", "teacher.safetensors", "optimizer.safetensors", "state.json"];

#[test]
fn a_new_run_has_no_checkpoint() {
    let run = tempfile::tempdir().unwrap();
    assert!(latest_intact::<State>(run.path()).unwrap().checkpoint.is_none());
    let store = open(&run.path().join("not/yet/made"), 2);
    assert!(store.latest_intact::<State>().unwrap().checkpoint.is_none());
}

#[test]
fn saved_comes_back_and_old_ones_go() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    for step in [0, 9, 10, 11] {
        let folder = store.save(step, &tensors(step), &state(step)).unwrap();
        assert_eq!(folder, run.path().join(format!("checkpoints/step-{step}")));
        check_latest(run.path(), step, &[]);
    }
    assert_eq!(names(run.path()), ["step-10", "step-11"]);
    let mut files: Vec<_> = fs::read_dir(run.path().join("checkpoints/step-11"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["optimizer.safetensors", "state.json", "student.safetensors", "teacher.safetensors"]);
}

#[test]
fn a_step_saved_again_replaces_the_first() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    store.save(5, &tensors(4), &state(4)).unwrap();
    store.save(5, &tensors(5), &state(5)).unwrap();
    check_latest(run.path(), 5, &[]);
    assert_eq!(names(run.path()), ["step-5"]);
}

#[test]
fn one_run_at_a_time() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    store.save(1, &tensors(1), &state(1)).unwrap();
    let retention = Retention { keep_last: NonZeroUsize::MIN, keep_every: None };
    let versions = Versions { program: String::new(), libtorch: String::new() };
    let error = CheckpointStore::open(run.path(), retention, versions).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
    // Looking is allowed.
    check_latest(run.path(), 1, &[]);
}

#[test]
fn any_changed_byte_is_found_and_its_file_named() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    store.save(1, &tensors(1), &state(1)).unwrap();
    store.save(2, &tensors(2), &state(2)).unwrap();
    for name in FILES {
        let path = run.path().join("checkpoints/step-2").join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        for index in 0..whole.len() {
            // Another bit each time, and the one that turns letters into their capitals.
            for mask in [1 << (index % 8), 0x20] {
                changed[index] ^= mask;
                fs::write(&path, &changed).unwrap();
                check_damaged(&path, &Damage::Checksum);
                changed[index] = whole[index];
            }
        }
        check_latest_after(&path, &changed[..whole.len() - 1], run.path(), name);
        check_latest_after(&path, &[&whole[..], b" "].concat(), run.path(), name);
        check_latest_after(&path, &[], run.path(), name);
        fs::remove_file(&path).unwrap();
        check_damaged(&path, &Damage::Missing);
        fs::create_dir(&path).unwrap();
        check_damaged(&path, &Damage::Missing);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, &whole).unwrap();
        check_latest(run.path(), 2, &[]);
    }
}

/// Checks that reading the checkpoint of a damaged file names it.
#[track_caller]
fn check_damaged(file: &Path, damage: &Damage) {
    match read::<State>(file.parent().unwrap()) {
        Err(CheckpointError::Damaged(found)) => {
            assert_eq!((found.file.as_path(), &found.damage), (file, damage));
        }
        other => panic!("{}: {other:?}", file.display()),
    }
}

/// Puts other bytes into a file of step 2 and checks that step 1 is used instead.
#[track_caller]
fn check_latest_after(path: &Path, bytes: &[u8], run: &Path, name: &str) {
    fs::write(path, bytes).unwrap();
    check_latest(run, 1, &[&format!("step-2/{name}")]);
}

#[test]
fn a_huge_file_is_not_read() {
    let run = tempfile::tempdir().unwrap();
    let folder = open(run.path(), 2).save(1, &tensors(1), &state(1)).unwrap();
    for name in FILES {
        let path = folder.join(name);
        let whole = fs::read(&path).unwrap();
        // Sparse: takes no space, and would take all memory.
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 42).unwrap();
        let error = read::<State>(&folder).unwrap_err();
        assert!(
            error.to_string().contains(&format!("{name} is damaged: it has {} bytes", 1_u64 << 42)),
            "{error}"
        );
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn damaged_ones_are_passed_over_and_later_replaced() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 3);
    for step in [1, 2, 3] {
        store.save(step, &tensors(step), &state(step)).unwrap();
    }
    let checkpoints = run.path().join("checkpoints");
    fs::remove_file(checkpoints.join("step-3/state.json")).unwrap();
    fs::write(checkpoints.join("step-2/teacher.safetensors"), b"").unwrap();
    check_latest(run.path(), 1, &["step-3/state.json", "step-2/teacher.safetensors"]);
    store.save(2, &tensors(2), &state(2)).unwrap();
    check_latest(run.path(), 2, &["step-3/state.json"]);
    store.save(3, &tensors(3), &state(3)).unwrap();
    check_latest(run.path(), 3, &[]);
}

#[test]
fn never_silently_afresh() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    for step in [1, 2] {
        let folder = store.save(step, &tensors(step), &state(step)).unwrap();
        fs::write(folder.join("student.safetensors"), b"").unwrap();
    }
    let error = store.latest_intact::<State>().unwrap_err();
    assert!(matches!(&error, CheckpointError::NoneIntact { damaged, .. } if damaged.len() == 2), "{error}");
    assert!(error.to_string().contains("or remove the folder to start afresh"), "{error}");
    // Intact, but of another program: not gone behind either.
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    store.save(1, &tensors(1), &state(1)).unwrap();
    store.save(2, &tensors(2), &"another state".to_owned()).unwrap();
    assert!(matches!(store.latest_intact::<State>(), Err(CheckpointError::State { .. })));
}

#[test]
fn a_folder_under_another_name_is_not_believed() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 2);
    let folder = store.save(1, &tensors(1), &state(1)).unwrap();
    fs::rename(&folder, folder.with_file_name("step-2")).unwrap();
    let error = store.latest_intact::<State>().unwrap_err().to_string();
    assert!(error.contains("it belongs to step 1"), "{error}");
}

#[test]
fn a_save_that_fails_leaves_nothing() {
    let run = tempfile::tempdir().unwrap();
    let store = open(run.path(), 1);
    store.save(1, &tensors(1), &state(1)).unwrap();
    assert!(store.save(2, &tensors(2), &f64::NAN).is_err());
    assert_eq!(names(run.path()), ["step-1"]);
    check_latest(run.path(), 1, &[]);
}

/// In the child of [`killed_at_any_moment`]: the run folder.
const CHILD: &str = "D2V_TEST_CHECKPOINT_CHILD";

/// Goes on from the newest checkpoint and saves as fast as it can, saying each step that is safe.
fn save_for_ever(run: &Path) -> ! {
    let store = open(run, 1);
    let latest = store.latest_intact::<State>().unwrap();
    assert_eq!(latest.damaged, []);
    // The same step again first: the replacement can be hit too.
    let first = latest.checkpoint.map_or(0, |checkpoint| checkpoint.step);
    for step in first.. {
        store.save(step, &tensors(step), &state(step)).unwrap();
        // One write, so that a kill cannot tear the line.
        std::io::stderr().write_all(format!("safe {step}\n").as_bytes()).unwrap();
    }
    unreachable!("a run has fewer than 2^64 steps")
}

#[test]
fn killed_at_any_moment() {
    const KILLS: u64 = 15;
    if let Some(run) = std::env::var_os(CHILD) {
        save_for_ever(Path::new(&run));
    }
    let run = tempfile::tempdir().unwrap();
    let mut leftovers = 0;
    for kill in 0..KILLS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "checkpoint::tests::killed_at_any_moment", "--nocapture"])
            .env(CHILD, run.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut safe = lines.filter_map(|line| line.unwrap().strip_prefix("safe ")?.parse::<u64>().ok());
        // From the first save on, at a moment that moves through the save of a few milliseconds.
        let first_safe = safe.next().unwrap_or_else(|| panic!("the child ended before its first save"));
        std::thread::sleep(Duration::from_micros(kill * 1300));
        process.kill().unwrap();
        process.wait().unwrap();
        let last_safe = safe.last().unwrap_or(first_safe);
        leftovers += names(run.path()).iter().filter(|name| name.starts_with('.')).count();
        let store = open(run.path(), 1);
        let latest = store.latest_intact::<State>().unwrap();
        let step = latest.checkpoint.unwrap().step;
        assert!(step >= last_safe, "step {last_safe} was safe, the newest is {step}");
        check_latest(run.path(), step, &[]);
        assert!(names(run.path()).iter().all(|name| !name.starts_with('.')), "{:?}", names(run.path()));
    }
    assert!(leftovers > 0, "no kill of {KILLS} fell into a save: the test has shown nothing");
}

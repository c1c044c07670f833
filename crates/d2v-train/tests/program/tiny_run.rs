//! Calls `d2v pretrain` with the recipe of `tiny.toml`, and reads what it left in its folder.

use d2v_train::metrics::{METRICS_FILE, TIMING_COLUMNS};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The recipe.
pub(crate) const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/tiny.toml");
/// Updates of the recipe.
pub(crate) const STEPS: u64 = 40;
/// Longest that any process here may take before the test gives up on it: a hundred times what one takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program, with one libtorch thread and neither log settings nor GPUs from outside.
pub(crate) fn d2v() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_d2v"));
    command.env("OMP_NUM_THREADS", "1").env("CUDA_VISIBLE_DEVICES", "").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a process wrote to its standard error stream.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

/// A folder for one run, removed with the value.
pub(crate) struct TinyRun {
    folder: TempDir,
    recipe: String,
}

impl TinyRun {
    /// An empty place; the run's own folder does not exist yet.
    pub(crate) fn new() -> TinyRun {
        TinyRun::of(TINY)
    }

    /// The same for another recipe.
    pub(crate) fn of(recipe: &str) -> TinyRun {
        // The one that a static holds is never dropped: under the target folder it does no harm.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        TinyRun { folder, recipe: recipe.to_owned() }
    }

    /// The run's folder.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// `d2v pretrain` on the recipe, with further arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = d2v();
        command.args(["pretrain", "--config", &self.recipe, "--out"]).arg(self.out()).args(arguments);
        command
    }

    /// Runs to the end, whatever it is.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs to the end and checks the exit code; returns the messages.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> String {
        let output = self.output(arguments);
        let messages = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {messages}");
        messages
    }

    /// Starts a run whose messages nobody reads.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let process = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running { process, started: Instant::now() }
    }

    /// The last step in the log; 0 before the first line.
    pub(crate) fn logged_step(&self) -> u64 {
        let text = std::fs::read_to_string(self.out().join(METRICS_FILE)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().next_back().map_or(0, |line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("whole lines are JSON");
            line["step"].as_u64().expect("a step is a number")
        })
    }

    /// The lines of the log without the columns that depend on the machine's speed.
    pub(crate) fn deterministic_metrics(&self) -> Vec<serde_json::Value> {
        let lines = self.metrics().into_iter().map(|mut line| {
            let columns = line.as_object_mut().expect("a line is an object");
            columns.retain(|name, _| !TIMING_COLUMNS.contains(&name.as_str()));
            line
        });
        lines.collect()
    }

    /// The lines of the log.
    pub(crate) fn metrics(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.out().join(METRICS_FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("lines are JSON")).collect()
    }

    /// The steps of the checkpoints there are, ascending.
    pub(crate) fn checkpoints(&self) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.out().join("checkpoints")) else { return Vec::new() };
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut steps: Vec<u64> =
            entries.filter_map(|entry| name(entry).strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        steps
    }

    /// A file of a checkpoint.
    pub(crate) fn checkpoint_file(&self, step: u64, file: &str) -> PathBuf {
        self.out().join(format!("checkpoints/step-{step}/{file}.safetensors"))
    }

    /// Checks that student, teacher, optimizer and log are those of `other`, byte for byte and number for number.
    #[track_caller]
    pub(crate) fn assert_ended_like(&self, other: &TinyRun, what: &str) {
        assert_eq!(self.checkpoints(), other.checkpoints(), "{what}: checkpoints");
        let last = other.checkpoints().pop().expect("the last update makes a checkpoint");
        for file in ["student", "teacher", "optimizer"] {
            let bytes = |run: &TinyRun| read(&run.checkpoint_file(last, file));
            assert!(bytes(self) == bytes(other), "{what}: {file}.safetensors differs");
        }
        assert_eq!(self.deterministic_metrics(), other.deterministic_metrics(), "{what}: log");
    }
}

/// A process under way; killed with the value.
pub(crate) struct Running {
    process: Child,
    started: Instant,
}

impl Running {
    /// Waits until `done` holds; false if the process ended before.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, done: impl Fn() -> bool) -> bool {
        loop {
            if done() {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(self.started.elapsed() < PATIENCE, "gave up waiting for {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Ends it with SIGKILL. False if it had ended by itself.
    pub(crate) fn kill(mut self) -> bool {
        let running = self.is_running();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        running
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> ExitStatus {
        let mut status = None;
        while status.is_none() {
            assert!(self.started.elapsed() < PATIENCE, "gave up waiting for the end");
            std::thread::sleep(Duration::from_millis(1));
            status = self.process.try_wait().unwrap();
        }
        status.expect("the loop ends with one")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only where it has ended, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a file that must be there.
#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! `xtask setup` as a process, in a checkout of its own, against a stand-in for pip.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "in a test, a failure of the machine is a failure of the test")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const HEADER: &str = "torch/include/torch/headeronly/version.h";

/// Answers like `python3 -m pip`: the "index" is the folder beside it. While the file `hang` is there, a
/// download stops half-way.
const PIP: &str = r#"#!/bin/sh
index=$(dirname "$0")
for argument; do
    [ "$argument" = --version ] && echo "pip 99 (stand-in)" && exit 0
    [ "$previous" = --requirement ] && requirement=$argument
    [ "$previous" = --dest ] && dest=$argument
    previous=$argument
done
project=$(sed 's/==.*//' "$requirement")
echo "$project" >> "$index/fetched"
if [ -e "$index/hang" ]; then
    echo half > "$TMPDIR/half"
    while [ -e "$index/hang" ]; do sleep 0.05; done
    exit 1
fi
cp "$index/$project.whl" "$dest/$project-1-py3-none-any.whl" 2>/dev/null && exit 0
echo "WARNING: Retrying after connection broken by 'NewConnectionError'" >&2
exit 1
"#;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// A checkout, and a package index that holds a small torch wheel.
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(machine.path("checkout/xtask")).unwrap();
        fs::create_dir_all(machine.path("bin")).unwrap();
        fs::write(machine.path("bin/python3"), PIP).unwrap();
        fs::set_permissions(machine.path("bin/python3"), fs::Permissions::from_mode(0o755)).unwrap();
        let wheel = machine.path("bin/torch.whl");
        let mut writer = ZipWriter::new(File::create(&wheel).unwrap());
        for (name, content) in [
            ("torch/lib/libtorch_cpu.so", "machine code".to_owned()),
            ("torch/lib/libtorch.so", "needs CUDA".to_owned()),
            (HEADER, header("2.11.0")),
        ] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        let bytes = fs::read(&wheel).unwrap();
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let pins = format!(
            "version = \"2.11.0\"\npython = \"3.12\"\nplatforms = [\"manylinux_2_28_x86_64\"]\n\
             unpacked_bytes = {{ cpu = 1000, cuda = 1000 }}\n\
             [[wheel]]\nproject = \"torch\"\nsha256 = \"{sha256}\"\nbytes = {}\n\
             cpu = [\"torch/lib/libtorch_cpu.so\", \"torch/include/\"]\n",
            bytes.len()
        );
        fs::write(machine.path("checkout/libtorch.toml"), pins).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `xtask setup` with nothing in its environment but what it needs.
    fn setup(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("setup").env_clear().env("CARGO_MANIFEST_DIR", self.path("checkout/xtask"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command
    }

    fn fetched(&self) -> usize {
        fs::read_to_string(self.path("bin/fetched")).map_or(0, |text| text.lines().count())
    }

    /// A libtorch of the user's own.
    fn own(&self, version: &str) -> PathBuf {
        let root = self.path("own/torch");
        for (name, content) in [("lib/libtorch_cpu.so", "own".to_owned()), (&HEADER[6..], header(version))] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), content).unwrap();
        }
        root
    }
}

fn header(version: &str) -> String {
    let [major, minor, patch] = version.split('.').collect::<Vec<_>>()[..] else { panic!("three numbers") };
    format!(
        "#define TORCH_VERSION_MAJOR {major}\n#define TORCH_VERSION_MINOR {minor}\n#define TORCH_VERSION_PATCH {patch}\n"
    )
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn fails_saying(output: &Output, expected: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in: {said}");
    }
}

/// What lies in `.libtorch`, sorted.
fn store(machine: &Machine) -> Vec<String> {
    let entries = fs::read_dir(machine.path("checkout/.libtorch")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn current(machine: &Machine) -> PathBuf {
    machine.path("checkout/.libtorch/current")
}

fn assert_private_copy(machine: &Machine) {
    assert_eq!(fs::read_link(current(machine)).unwrap(), Path::new("2.11.0-cpu/torch"));
    let read = |name: &str| fs::read_to_string(current(machine).join(name)).unwrap();
    assert_eq!(read("lib/libtorch_cpu.so"), "machine code");
    assert_eq!(read("lib/libtorch.so"), "INPUT(libtorch_cpu.so)\n");
    assert_eq!(store(machine), ["2.11.0-cpu", "current", "lock"]);
}

#[test]
fn a_private_copy_is_made_once() {
    let machine = Machine::new();
    succeeds(&machine.setup().output().unwrap());
    assert_private_copy(&machine);
    succeeds(&machine.setup().output().unwrap());
    assert_eq!(machine.fetched(), 1);
}

#[test]
fn a_killed_set_up_leaves_nothing_that_looks_whole_and_can_be_run_again() {
    let machine = Machine::new();
    let hang = machine.path("bin/hang");
    fs::write(&hang, "").unwrap();
    let mut killed = machine.setup().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let half = machine.path("checkout/.libtorch/downloads/torch/unfinished/half");
    let started = Instant::now();
    while !half.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "the stand-in for pip was not started");
        thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(current(&machine).symlink_metadata().is_err());
    // Left by a run that was killed while it unpacked.
    fs::create_dir_all(machine.path("checkout/.libtorch/2.11.0-cpu.partial/torch/lib")).unwrap();
    fs::remove_file(hang).unwrap();

    succeeds(&machine.setup().output().unwrap());
    assert_private_copy(&machine);
}

#[test]
fn two_at_once_make_one_copy() {
    let machine = Machine::new();
    let mut others: Vec<_> = (0..3)
        .map(|_| machine.setup().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    succeeds(&machine.setup().output().unwrap());
    for other in &mut others {
        assert!(other.wait().unwrap().success());
    }
    assert_private_copy(&machine);
    assert_eq!(machine.fetched(), 1);
}

#[test]
fn a_wheel_with_another_hash_is_refused() {
    let machine = Machine::new();
    File::options().append(true).open(machine.path("bin/torch.whl")).unwrap().write_all(b"x").unwrap();
    fails_saying(&machine.setup().output().unwrap(), &["SHA-256", "libtorch.toml", "It was deleted"]);
    assert!(current(&machine).symlink_metadata().is_err());
}

#[test]
fn a_missing_network_is_explained() {
    let machine = Machine::new();
    fs::remove_file(machine.path("bin/torch.whl")).unwrap();
    fails_saying(
        &machine.setup().output().unwrap(),
        &["NewConnectionError", "check the network", "HTTPS_PROXY"],
    );
}

#[test]
fn a_missing_pip_is_explained() {
    let machine = Machine::new();
    let output = machine.setup().env("PATH", machine.path("nowhere")).output().unwrap();
    fails_saying(&output, &["pip is needed", "apt install python3-pip", "LIBTORCH"]);
}

#[test]
fn a_full_disk_is_seen_before_anything_is_fetched() {
    let machine = Machine::new();
    let pins = machine.path("checkout/libtorch.toml");
    let text = fs::read_to_string(&pins).unwrap().replace("cpu = 1000,", "cpu = 9000000000000000000,");
    fs::write(&pins, text).unwrap();
    fails_saying(&machine.setup().output().unwrap(), &["are needed", "make room"]);
    assert_eq!(machine.fetched(), 0);
}

#[test]
fn libtorch_of_the_users_own_comes_first() {
    let machine = Machine::new();
    let own = machine.own("2.11.0");
    succeeds(&machine.setup().env("LIBTORCH", &own).output().unwrap());
    assert_eq!(fs::read_link(current(&machine)).unwrap(), own);
    assert_eq!(machine.fetched(), 0);
    // And without it the private copy is back.
    succeeds(&machine.setup().output().unwrap());
    assert_private_copy(&machine);
}

#[test]
fn libtorch_that_will_not_do_is_refused() {
    let check = |value: &Path, expected: &[&str]| {
        let machine = Machine::new();
        fails_saying(&machine.setup().env("LIBTORCH", value).output().unwrap(), expected);
        assert!(current(&machine).symlink_metadata().is_err());
    };
    let other = Machine::new();
    check(&other.own("2.10.1"), &["libtorch 2.10.1", "libtorch 2.11.0 is needed", "unset it"]);
    check(&other.path("nothing"), &["libtorch_cpu.so is missing"]);
    check(Path::new("own/torch"), &["absolute"]);
}

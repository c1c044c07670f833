//! Fetches wheels with the user's pip, which knows the index, proxies and certificates of this machine.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checksum;
use crate::child;
use crate::pinned::{Pinned, Wheel};
use crate::progress::Progress;

/// A pip that answered.
#[derive(Debug)]
pub(crate) struct Pip {
    program: OsString,
    leading_arguments: &'static [&'static str],
    /// What it says of itself.
    pub(crate) version: String,
}

impl Pip {
    /// The first pip that answers: as a module of a Python, else as a program.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find() -> Result<Self> {
        const MODULE: &[&str] = &["-m", "pip"];
        for (program, leading_arguments) in
            [("python3", MODULE), ("python", MODULE), ("pip3", &[]), ("pip", &[])]
        {
            let question: Vec<&str> = leading_arguments.iter().copied().chain(["--version"]).collect();
            if let Some(version) = child::first_line(program, &question) {
                return Ok(Self { program: program.into(), leading_arguments, version });
            }
        }
        bail!(
            "pip is needed to fetch libtorch, and neither `python3 -m pip` nor `pip` works here: install it \
             (Debian, Ubuntu: `apt install python3-pip`; Fedora: `dnf install python3-pip`; a Python without \
             it: `python3 -m ensurepip`), or set LIBTORCH to a libtorch that is on this machine"
        )
    }

    /// Fetches one wheel into a folder of its own below `downloads`, or finds it there, and checks its hash.
    ///
    /// # Errors
    /// When pip fails, or what it brought is not the wheel that `libtorch.toml` names.
    pub(crate) fn fetch(&self, pinned: &Pinned, wheel: &Wheel, downloads: &Path) -> Result<PathBuf> {
        let folder = downloads.join(&wheel.project);
        if let Some(file) = wheel_in(&folder)?
            && checksum::sha256(&file)? == wheel.sha256
        {
            return Ok(file);
        }
        // What a killed run left is of no use: pip cannot go on with half a file.
        remove_folder(&folder)?;
        let unfinished = folder.join("unfinished");
        fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
        self.download(pinned, wheel, &folder, &unfinished)?;
        remove_folder(&unfinished)?;

        let Some(file) = wheel_in(&folder)? else {
            bail!(
                "pip ended well but brought no wheel of {}: is its configuration (`pip config list`) unusual?",
                wheel.project
            )
        };
        let found = checksum::sha256(&file)?;
        if found != wheel.sha256 {
            remove_folder(&folder)?;
            bail!("{}", wrong_hash(wheel, &found));
        }
        Ok(file)
    }

    fn download(&self, pinned: &Pinned, wheel: &Wheel, folder: &Path, unfinished: &Path) -> Result<()> {
        let version = pinned.version_of(wheel);
        let requirement = folder.join("requirement.txt");
        let log = folder.join("pip.log");
        fs::write(&requirement, format!("{}=={version} --hash=sha256:{}\n", wheel.project, wheel.sha256))?;

        let mut command = Command::new(&self.program);
        command.args(self.leading_arguments);
        command.args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
            "--no-input",
            "--quiet",
        ]);
        command.args(["--progress-bar", "off", "--disable-pip-version-check", "--implementation", "cp"]);
        command.args(["--python-version", &pinned.python]);
        for platform in &pinned.platforms {
            command.args(["--platform", platform]);
        }
        command.arg("--requirement").arg(&requirement).arg("--dest").arg(folder);
        // pip writes here first: on the disk whose room was checked, and where its progress can be seen.
        command.env("TMPDIR", unfinished);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);

        let mut progress = Progress::start(format!("{} {version}", wheel.project), wheel.bytes);
        let mut pip =
            command.spawn().with_context(|| format!("cannot start `{}`", self.program.display()))?;
        let status = loop {
            if let Some(status) = pip.try_wait().context("cannot wait for pip")? {
                break status;
            }
            progress.set(bytes_below(unfinished));
            thread::sleep(Duration::from_millis(200));
        };
        if !status.success() {
            drop(progress);
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!(
                "pip could not fetch {} {version} ({status}).\n{}\n{}",
                wheel.project,
                said.trim(),
                advice(&said)
            );
        }
        progress.finish();
        Ok(())
    }
}

/// What to do about a failure of pip, judged by its words.
fn advice(said: &str) -> &'static str {
    let any = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if any(&["No space left", "Disk quota"]) {
        "The disk is full: make room and run the same command again."
    } else if any(&["DO NOT MATCH THE HASHES", "HashMismatch"]) {
        "The index served another file than libtorch.toml names. A mirror may have altered it: see `pip config \
         list`, and try with PIP_INDEX_URL=https://pypi.org/simple."
    } else if any(&["no such option", "Not enough arguments"]) {
        "This pip is too old: `python3 -m pip install --upgrade pip` (20.3 or later)."
    } else if any(&[
        "connection",
        "Connection",
        "resolution",
        "timed out",
        "unreachable",
        "SSL",
        "Proxy",
        "proxy",
    ]) {
        "The package index was not reached: check the network, and behind a proxy set HTTPS_PROXY; an own \
         certificate goes into PIP_CERT. Then run the same command again: wheels that are complete are kept. \
         Without a network, set LIBTORCH to a libtorch brought from elsewhere."
    } else if any(&["No matching distribution", "Could not find a version"]) {
        "The package index that pip uses does not have this file: see `pip config list`, and try with \
         PIP_INDEX_URL=https://pypi.org/simple."
    } else {
        "Run the same command again; wheels that are complete are kept."
    }
}

fn wrong_hash(wheel: &Wheel, found: &str) -> String {
    format!(
        "the wheel of {} has SHA-256 {found}, but libtorch.toml names {}. It was deleted. Run the same command \
         again; if that does not help, a mirror altered it: try with PIP_INDEX_URL=https://pypi.org/simple",
        wheel.project, wheel.sha256
    )
}

fn wheel_in(folder: &Path) -> Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}

/// Only for display, so what cannot be read (pip is at work there) counts nothing.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_what_pip_says() {
        let check =
            |said: &str, expected: &str| assert!(advice(said).contains(expected), "{said}: {}", advice(said));
        check("OSError: [Errno 28] No space left on device", "make room");
        check(
            "WARNING: Retrying after connection broken by 'NewConnectionError'\n\
             ERROR: Could not find a version that satisfies the requirement torch==2.11.0",
            "check the network",
        );
        check("ERROR: No matching distribution found for torch==2.11.0", "does not have this file");
        check("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "mirror");
    }
}

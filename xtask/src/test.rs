//! `cargo xtask test`: all tests and examples, and one line at the end that says how it went.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::{child, examples, setup};

/// Runs `cargo test` on the workspace, or on the packages that the arguments name; without arguments, then the examples of
/// the crates without libtorch.
///
/// Tests are built in the release profile: what torch-sys, tch and the other dependencies take to compile is
/// shared with the program, and the numeric tests run at full speed.
///
/// # Errors
/// When set-up fails or cargo cannot be started.
pub(crate) fn run(checkout: &Checkout, arguments: &[OsString]) -> Result<ExitCode> {
    setup::ensure_libtorch(checkout)?;
    let started = Instant::now();
    let mut command = child::cargo(checkout);
    command.args(["test", "--release"]);
    if !names_packages(arguments) {
        command.arg("--workspace");
    }
    if !arguments.iter().any(|argument| argument == "--no-fail-fast") {
        command.arg("--no-fail-fast");
    }
    let mut cargo = command.args(arguments).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;

    let mut out = std::io::stdout();
    let mut tally = Tally::default();
    for line in BufReader::new(cargo.stdout.take().context("cargo's output was asked for")?).lines() {
        let line = line.context("cannot read what cargo says")?;
        // Whoever reads may have heard enough (`| head`): an error then, not a panic.
        writeln!(out, "{line}").context("cannot write to standard output")?;
        tally.read(&line);
    }
    let status = cargo.wait().context("cannot wait for cargo")?;
    let (ran, failed) = if arguments.is_empty() { examples::run(checkout)? } else { (0, Vec::new()) };
    if ran > 0 {
        let names = if failed.is_empty() { "none".to_owned() } else { failed.join(", ") };
        writeln!(out, "\n{ran} examples ran; failed: {names}").context("cannot write to standard output")?;
    }
    let seconds = started.elapsed().as_secs();
    let (verdict, code) = if status.success() && failed.is_empty() {
        ("All tests passed.", ExitCode::SUCCESS)
    } else {
        ("Not all tests passed; the failures are listed above.", ExitCode::FAILURE)
    };
    writeln!(out, "\n{tally} in {} min {:02} s\n{verdict}", seconds / 60, seconds % 60)
        .context("cannot write to standard output")?;
    Ok(code)
}

/// Whether cargo's part of the arguments says which packages to test.
fn names_packages(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
        let text = argument.to_string_lossy();
        text.starts_with("-p") || text.starts_with("--package") || text == "--workspace" || text == "--all"
    })
}

/// Sums of what each test program reports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Counts a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number_before = |word: &str| {
            let words: Vec<&str> = result.split([' ', ';']).filter(|part| !part.is_empty()).collect();
            words
                .windows(2)
                .find(|pair| pair[1] == word)
                .and_then(|pair| pair[0].parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.programs += 1;
        self.passed += number_before("passed");
        self.failed += number_before("failed");
        self.ignored += number_before("ignored");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { programs, passed, failed, ignored } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored in {programs} test programs,")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed() {
        let mut tally = Tally::default();
        tally.read(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        tally.read("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.read("test tests::something ... ok");
        assert_eq!(tally, Tally { programs: 2, passed: 5, failed: 4, ignored: 1 });
    }

    #[test]
    fn packages_are_seen_before_the_dashes_only() {
        let check = |text: &str, expected: bool| {
            let arguments: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            assert_eq!(names_packages(&arguments), expected, "{text}");
        };
        check("-p d2v-ema", true);
        check("--package=d2v-ema", true);
        check("resume", false);
        check("resume -- -p", false);
    }
}

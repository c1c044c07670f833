//! `cargo xtask lint`: everything about a change that can be judged without running it.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{child, setup};

/// The crates that anyone can use without libtorch; they are kept ready for publication.
pub(crate) const CRATES_WITHOUT_LIBTORCH: [&str; 3] = ["d2v-masking", "d2v-data", "d2v-weights"];

/// Runs all checks, the cheapest first, goes on after a failure, and lists the failures at the end.
///
/// # Errors
/// When set-up fails or a tool cannot be started.
pub(crate) fn run(checkout: &Checkout) -> Result<ExitCode> {
    let mut report = Report::default();
    report.check(
        "formatting (repair: cargo fmt --all)",
        child::cargo(checkout).args(["fmt", "--all", "--check"]),
    )?;

    let mut packages = child::cargo(checkout);
    // Compiling them is the tests' job.
    packages.args(["package", "--allow-dirty", "--no-verify", "--quiet"]);
    for name in CRATES_WITHOUT_LIBTORCH {
        packages.args(["--package", name]);
        report.require(
            name,
            "must not depend on torch-sys (ARCHITECTURE.md)",
            !needs_libtorch(checkout, name)?,
        );
    }
    report.check("packages of the crates without libtorch", &mut packages)?;

    let deny = "licences and advisories (deny.toml)";
    report.check_if_installed(deny, "cargo-deny", child::cargo(checkout).args(["deny", "check"]))?;
    let typos = "spelling (typos.toml)";
    report.check_if_installed(typos, "typos-cli", Command::new("typos").current_dir(checkout.root()))?;

    setup::ensure_libtorch(checkout)?;
    // In the release profile, as all else: it shares what build scripts compile, torch-sys above all.
    report.check(
        "clippy",
        child::cargo(checkout).args([
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    report.check(
        "documentation",
        child::cargo(checkout)
            .args(["doc", "--release", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    Ok(report.conclude())
}

/// What was checked and what failed.
#[derive(Default)]
struct Report {
    failed: Vec<String>,
}

impl Report {
    fn check(&mut self, name: &str, command: &mut Command) -> Result<()> {
        eprintln!("\n== {name}");
        if !child::run(command)?.success() {
            self.failed.push(name.to_owned());
        }
        Ok(())
    }

    fn check_if_installed(&mut self, name: &str, package: &str, command: &mut Command) -> Result<()> {
        // The program is named like its package, but for what cargo's packages append.
        if child::first_line(package.trim_end_matches("-cli"), &["--version"]).is_some() {
            return self.check(name, command);
        }
        eprintln!("\n== {name}: left out, as it is not installed (`cargo install {package}`)");
        Ok(())
    }

    fn require(&mut self, subject: &str, rule: &str, kept: bool) {
        if !kept {
            self.failed.push(format!("{subject} {rule}"));
        }
    }

    fn conclude(self) -> ExitCode {
        if self.failed.is_empty() {
            println!("\nAll checks passed.");
            return ExitCode::SUCCESS;
        }
        println!("\nNot passed:");
        for name in self.failed {
            println!("  {name}");
        }
        ExitCode::FAILURE
    }
}

/// Whether torch-sys is among all that a package is built from, tests included.
fn needs_libtorch(checkout: &Checkout, package: &str) -> Result<bool> {
    let output = child::cargo(checkout)
        .args([
            "tree",
            "--quiet",
            "--package",
            package,
            "--edges",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("torch-sys ")))
}

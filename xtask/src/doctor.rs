//! `cargo xtask doctor`: what this machine has, and what to do about what it lacks.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;
use indicatif::HumanBytes;

use crate::checkout::Checkout;
use crate::installed::{self, Source};
use crate::pinned::Pinned;
use crate::pip::Pip;
use crate::{child, disk, setup};

/// What `target` takes after `cargo xtask pretrain` and `cargo xtask test`, with some to spare.
const BUILD_BYTES: u64 = 5_000_000_000;

/// What was found about one subject.
enum Finding {
    Good(String),
    /// Something is wrong; the second text says what to do.
    Bad(String, String),
}

use Finding::{Bad, Good};

/// Prints what was found, then what `d2v doctor` measures. Fails when something is wrong.
///
/// # Errors
/// When the checkout itself is damaged, or `d2v` does not build.
pub(crate) fn run(checkout: &Checkout, quick: bool) -> Result<ExitCode> {
    let pinned = Pinned::read(&checkout.pins())?;
    let findings = [
        ("checkout", Good(checkout.root().display().to_string())),
        ("system", system()),
        ("rust", program("rustc", &["--version"], "install Rust from https://rustup.rs")),
        ("C++", compiler()),
        ("python", program("python3", &["--version"], "only needed for pip and for LIBTORCH_USE_PYTORCH")),
        ("pip", pip()),
        ("disk", room(checkout)),
        ("libtorch", libtorch(checkout, &pinned)),
    ];
    for (subject, finding) in &findings {
        match finding {
            Good(text) => println!("ok  {subject:<9} {text}"),
            Bad(text, repair) => println!("!!  {subject:<9} {text}\n              -> {repair}"),
        }
    }
    let buildable = findings
        .iter()
        .all(|(subject, finding)| matches!(finding, Good(_)) || ["python", "pip", "disk"].contains(subject));
    let sound = findings.iter().all(|(_, finding)| matches!(finding, Good(_)));
    if quick || !buildable {
        if !buildable {
            println!(
                "\nWhat libtorch can do here is measured once nothing above stands in the way of a build."
            );
        }
        return Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    println!();
    setup::ensure_libtorch(checkout)?;
    let status = child::run(Command::new(child::build_d2v(checkout)?).arg("doctor"))?;
    Ok(if sound && status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn system() -> Finding {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |n| n.to_string());
    Good(format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH))
}

fn program(name: &str, arguments: &[&str], repair: &str) -> Finding {
    match child::first_line(name, arguments) {
        Some(version) => Good(version),
        None => Bad(format!("`{name}` does not work"), repair.to_owned()),
    }
}

fn compiler() -> Finding {
    let name = setup::compiler();
    program(
        &name,
        &["--version"],
        "Debian, Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`; or set CXX",
    )
}

fn pip() -> Finding {
    match Pip::find() {
        Ok(pip) => Good(pip.version),
        Err(error) => Bad("not found".to_owned(), error.to_string()),
    }
}

fn room(checkout: &Checkout) -> Finding {
    match disk::free_bytes(checkout.root()) {
        Ok(free) if free < BUILD_BYTES => Bad(
            format!("{} free", HumanBytes(free)),
            format!(
                "builds and tests take up to {}: make room, or set CARGO_TARGET_DIR",
                HumanBytes(BUILD_BYTES)
            ),
        ),
        Ok(free) => Good(format!("{} free", HumanBytes(free))),
        Err(error) => Bad(format!("{error:#}"), "free space is not known here".to_owned()),
    }
}

fn libtorch(checkout: &Checkout, pinned: &Pinned) -> Finding {
    match find_libtorch(checkout, pinned) {
        Ok((origin, root)) => Good(format!("{} in {} ({origin})", pinned.version, root.display())),
        Err(error) => Bad(format!("{error:#}"), "`cargo xtask setup` finds or fetches it".to_owned()),
    }
}

/// The libtorch that builds would use, and why that one; changes nothing.
fn find_libtorch(checkout: &Checkout, pinned: &Pinned) -> Result<(&'static str, PathBuf)> {
    let current = checkout.current_libtorch();
    let (origin, root) = match Source::from_environment(&current)? {
        Source::Folder(root) => ("named by LIBTORCH", root),
        Source::Python => ("the PyTorch of your Python", installed::python_torch()?),
        Source::Private => ("through .libtorch/current", current.canonicalize().unwrap_or(current)),
    };
    installed::check(&root, &pinned.version)?;
    Ok((origin, root))
}

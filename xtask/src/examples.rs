//! Runs the examples of the crates without libtorch: that they compile says little of what they print.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::checkout::Checkout;
use crate::child;
use crate::lint::CRATES_WITHOUT_LIBTORCH;

/// An example of a crate.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    package: &'static str,
    name: String,
}

/// Runs every example of those crates, in release as the tests are, and returns how many ran and which failed.
///
/// # Errors
/// When a crate has no example, or cargo cannot be started.
pub(crate) fn run(checkout: &Checkout) -> Result<(usize, Vec<String>)> {
    let scratch = tempfile::tempdir().context("cannot make a folder for what examples read and write")?;
    let text = scratch.path().join("readme.txt");
    std::fs::copy(checkout.root().join("README.md"), &text)
        .with_context(|| format!("cannot write {}", text.display()))?;
    let mut failed = Vec::new();
    let mut ran = 0;
    for package in CRATES_WITHOUT_LIBTORCH {
        for example in examples(checkout.root(), package)? {
            ran += 1;
            let output = command(checkout, &example, &text).output().context("cannot start cargo")?;
            if output.status.success() && !output.stdout.is_empty() {
                continue;
            }
            let what = if output.status.success() { "printed nothing" } else { "failed" };
            eprintln!(
                "example {} of {package} {what}\n{}",
                example.name,
                String::from_utf8_lossy(&output.stderr)
            );
            failed.push(format!("{package}/{}", example.name));
        }
    }
    Ok((ran, failed))
}

fn command(checkout: &Checkout, example: &Example, text: &Path) -> Command {
    let mut command = child::cargo(checkout);
    command.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        example.package,
        "--example",
        &example.name,
        "--",
    ]);
    command.args(arguments(&example.name, text)).stdin(Stdio::null());
    command
}

/// The examples of a crate, one file each, sorted.
fn examples(root: &Path, package: &'static str) -> Result<Vec<Example>> {
    let folder = root.join("crates").join(package).join("examples");
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort_unstable();
    ensure!(!names.is_empty(), "{} has no example: every crate needs one that runs", folder.display());
    Ok(names.into_iter().map(|name| Example { package, name }).collect())
}

/// What an example needs to be given; the others run without anything.
fn arguments(name: &str, text: &Path) -> Vec<PathBuf> {
    match name {
        // A text, and a place for its cache that is not the user's.
        "text_units" => vec![text.to_path_buf(), text.with_extension("cache")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_without_libtorch_has_examples() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for package in CRATES_WITHOUT_LIBTORCH {
            assert!(!examples(root, package).unwrap().is_empty());
        }
        let masks = examples(root, "d2v-masking").unwrap();
        assert_eq!(masks, [Example { package: "d2v-masking", name: "show_masks".into() }]);
    }

    #[test]
    fn a_crate_without_examples_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("crates/d2v-masking/examples")).unwrap();
        let error = examples(root.path(), "d2v-masking").unwrap_err().to_string();
        assert!(error.contains("has no example"), "{error}");
        assert!(examples(root.path(), "d2v-data").is_err(), "no folder");
    }
}

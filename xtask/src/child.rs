//! Other programs that xtask starts.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::checkout::Checkout;

/// A cargo command in the checkout, with the environment that a cargo started by hand would have.
///
/// LIBTORCH is left as it is: torch-sys is compiled again, for minutes, whenever it changes, so a build by
/// xtask and one by hand must see the same.
pub(crate) fn cargo(checkout: &Checkout) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(checkout.root());
    if env::var_os("LIBTORCH").is_some_and(|folder| folder != *checkout.current_libtorch().as_os_str()) {
        // torch-sys looks at this one first; we promise that LIBTORCH wins.
        command.env_remove("LIBTORCH_USE_PYTORCH");
    }
    // What `cargo run` sets for xtask itself says nothing true about another package.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs to the end with our own input and output.
///
/// # Errors
/// When the program cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.status().with_context(|| format!("cannot start `{name}`"))
}

/// First line that a program prints for `arguments`, or `None` when it is missing or fails.
pub(crate) fn first_line(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Builds the program `d2v`, optimised, showing cargo's own progress.
///
/// # Errors
/// When it does not build.
pub(crate) fn build_d2v(checkout: &Checkout) -> Result<PathBuf> {
    // cargo says where it put the program, whatever target folder or triple is configured.
    let mut build = cargo(checkout)
        .args(["build", "--release", "--package", "d2v-train", "--bin", "d2v"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut program = None;
    for line in BufReader::new(build.stdout.take().context("cargo's output was asked for")?).lines() {
        program = executable_named_d2v(&line.context("cannot read what cargo says")?).or(program);
    }
    let status = build.wait().context("cannot wait for cargo")?;
    ensure!(
        status.success(),
        "d2v did not build; cargo's message is above. `cargo xtask doctor --quick` checks the machine"
    );
    match program {
        Some(program) => Ok(program),
        None => bail!("cargo built d2v but did not say where it is"),
    }
}

fn executable_named_d2v(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_d2v = message["reason"] == "compiler-artifact" && message["target"]["name"] == "d2v";
    is_d2v.then(|| message["executable"].as_str()).flatten().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let library = r#"{"reason":"compiler-artifact","target":{"name":"d2v_ema"},"executable":null}"#;
        let program =
            r#"{"reason":"compiler-artifact","target":{"name":"d2v"},"executable":"/t/release/d2v"}"#;
        assert_eq!(executable_named_d2v(library), None);
        assert_eq!(executable_named_d2v("   Compiling d2v-train v0.1.0"), None);
        assert_eq!(executable_named_d2v(program), Some(PathBuf::from("/t/release/d2v")));
    }
}

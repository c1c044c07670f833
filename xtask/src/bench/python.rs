//! A Python that has PyTorch.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// Names a Python where the option does not.
const VARIABLE: &str = "D2V_PYTHON";
/// Looked for on the path where nothing names one.
const USUAL: &str = "python3";

/// A Python, and the PyTorch in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Python {
    pub(crate) program: OsString,
    /// Such as `2.11.0+cpu`.
    pub(crate) torch: String,
}

/// The Python that `option` names, else the variable `D2V_PYTHON`, else `python3`; `wanted` is the version of
/// PyTorch that the message recommends.
///
/// # Errors
/// When that one has no PyTorch. No other is tried then: whoever names a Python means it.
pub(crate) fn find(option: Option<&Path>, wanted: &str) -> Result<Python> {
    choose(option, std::env::var_os(VARIABLE).filter(|value| !value.is_empty()), wanted)
}

fn choose(option: Option<&Path>, variable: Option<OsString>, wanted: &str) -> Result<Python> {
    let (origin, program) = match (option, variable) {
        (Some(path), _) => ("--python", path.as_os_str().to_owned()),
        (None, Some(value)) => (VARIABLE, value),
        (None, None) => ("on the path", OsString::from(USUAL)),
    };
    match torch_version(&program) {
        Ok(torch) => Ok(Python { program, torch }),
        Err(why) => bail!(
            "{} ({origin}) has no PyTorch that works: {why}\n\
             Make a Python that has it, and name it by --python or {VARIABLE}:\n  \
             python3 -m venv .peer && .peer/bin/python -m pip install torch=={wanted} numpy transformers\n  \
             cargo xtask bench --peer --python .peer/bin/python",
            program.display()
        ),
    }
}

/// What `import torch` brings, or the last that Python said.
fn torch_version(program: &OsStr) -> Result<String, String> {
    let output = Command::new(program)
        .args(["-c", "import torch; print(torch.__version__)"])
        .output()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    };
    if !output.status.success() {
        return Err(last(&output.stderr).unwrap_or_else(|| output.status.to_string()));
    }
    last(&output.stdout).ok_or_else(|| "it names no version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::stand_in;
    use super::*;

    #[test]
    fn the_option_comes_before_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let option = stand_in(folder.path(), "option", "echo 2.11.0+cpu");
        let variable = stand_in(folder.path(), "variable", "echo a warning; echo 2.10.0");
        let found = choose(Some(&option), Some(variable.clone().into()), "2.11.0").unwrap();
        assert_eq!(found, Python { program: option.into(), torch: "2.11.0+cpu".to_owned() });
        let found = choose(None, Some(variable.into()), "2.11.0").unwrap();
        assert_eq!(found.torch, "2.10.0");
    }

    #[test]
    fn a_python_without_pytorch_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo Traceback >&2; echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1";
        let without = stand_in(folder.path(), "without", script);
        let missing = folder.path().join("missing");
        for (path, part) in [(&without, "No module named 'torch'"), (&missing, "cannot be started")] {
            let message = choose(Some(path), None, "2.11.0").unwrap_err().to_string();
            for part in [part, "(--python)", "pip install torch==2.11.0", &path.display().to_string()] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }
}

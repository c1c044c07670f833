//! A libtorch that is on this machine: is it whole, and which version is it?

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Where the user wants libtorch to come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The folder that `LIBTORCH` names.
    Folder(PathBuf),
    /// The PyTorch of the user's Python, because `LIBTORCH_USE_PYTORCH` is set.
    Python,
    /// A private copy in the checkout.
    Private,
}

impl Source {
    /// Reads the environment. `LIBTORCH` comes before `LIBTORCH_USE_PYTORCH`.
    ///
    /// # Errors
    /// When `LIBTORCH` is empty or relative: build scripts run elsewhere and would not find it.
    pub(crate) fn from_environment(current: &Path) -> Result<Self> {
        match env::var_os("LIBTORCH").map(PathBuf::from) {
            // cargo's configuration sets it for us when the user has not.
            Some(folder) if folder == current => {}
            Some(folder) => {
                ensure!(
                    folder.is_absolute(),
                    "LIBTORCH is `{}`, but must be an absolute path: set it to the folder that holds `lib` and \
                     `include`, or unset it for a private copy",
                    folder.display()
                );
                return Ok(Self::Folder(folder));
            }
            None => {}
        }
        // As torch-sys reads it: any value counts.
        Ok(if env::var_os("LIBTORCH_USE_PYTORCH").is_some() { Self::Python } else { Self::Private })
    }
}

/// The version that the headers in `root/include` state, after checking that `root` is a libtorch for C++.
///
/// # Errors
/// When libraries or headers are missing.
pub(crate) fn version_in(root: &Path) -> Result<String> {
    let library = format!("{}torch_cpu{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    let library = root.join("lib").join(library);
    ensure!(library.is_file(), "{} is missing", library.display());
    // The first is where it has moved to; the second is where it was, and includes the first.
    for name in ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"] {
        if let Ok(text) = fs::read_to_string(root.join(name))
            && let Some(version) = version_from_header(&text)
        {
            return Ok(version);
        }
    }
    bail!("{} states no version", root.join("include/torch/headeronly/version.h").display())
}

/// Checks that `root` holds a whole libtorch of the wanted version.
///
/// # Errors
/// When something is missing, or the version is another one.
pub(crate) fn check(root: &Path, wanted: &str) -> Result<()> {
    let found = version_in(root)?;
    ensure!(found == wanted, "this is libtorch {found}, and libtorch {wanted} is needed");
    Ok(())
}

/// The folder of the user's PyTorch.
///
/// # Errors
/// When that Python, its PyTorch, or what torch-sys needs beside it is missing.
pub(crate) fn python_torch() -> Result<PathBuf> {
    // Found without importing: that takes seconds.
    const WHERE: &str = "
import importlib.util
torch = importlib.util.find_spec('torch')
print(torch.submodule_search_locations[0] if torch else '')
print('yes' if importlib.util.find_spec('setuptools') else '')
";
    let python = if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let output = Command::new(python)
        .args(["-c", WHERE])
        .output()
        .with_context(|| format!("LIBTORCH_USE_PYTORCH is set, but `{python}` cannot be started"))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let mut lines = answer.lines();
    let root = lines.next().unwrap_or_default();
    ensure!(
        !root.is_empty(),
        "LIBTORCH_USE_PYTORCH is set, but `{python}` has no module `torch`: activate the environment that has \
         it, or unset LIBTORCH_USE_PYTORCH for a private copy"
    );
    ensure!(
        lines.next() == Some("yes"),
        "LIBTORCH_USE_PYTORCH is set, but `{python}` lacks the module `setuptools`, without which PyTorch does \
         not tell torch-sys where it is: `{python} -m pip install setuptools`, or unset LIBTORCH_USE_PYTORCH \
         and set LIBTORCH={root}"
    );
    Ok(PathBuf::from(root))
}

/// Finds `2.11.0` in `#define TORCH_VERSION_MAJOR 2` and so on.
fn version_from_header(text: &str) -> Option<String> {
    let number = |name: &str| {
        let value = text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next()).flatten()
        })?;
        value.parse::<u32>().ok()
    };
    let major = number("TORCH_VERSION_MAJOR")?;
    let minor = number("TORCH_VERSION_MINOR")?;
    let patch = number("TORCH_VERSION_PATCH")?;
    Some(format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_header() {
        let header = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n\
                      #define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION_ABI_TAG 0\n";
        assert_eq!(version_from_header(header).as_deref(), Some("2.11.0"));
        assert_eq!(version_from_header("#define TORCH_VERSION_MAJOR 2\n"), None);
    }
}

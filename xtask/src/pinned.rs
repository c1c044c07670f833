//! What `libtorch.toml` states: version, wheels, hashes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The whole of `libtorch.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pinned {
    /// libtorch's version, as in `2.11.0`.
    pub(crate) version: String,
    /// The Python version, as in `3.12`, whose wheels are fetched.
    pub(crate) python: String,
    /// The platform tags that pip may choose from.
    pub(crate) platforms: Vec<String>,
    /// Size on disk of each part, unpacked.
    pub(crate) unpacked_bytes: UnpackedBytes,
    /// What to fetch.
    #[serde(rename = "wheel")]
    wheels: Vec<Wheel>,
}

/// Size on disk of each part, unpacked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnpackedBytes {
    cpu: u64,
    cuda: u64,
}

/// One file of the package index.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wheel {
    /// Name of the project on the index.
    pub(crate) project: String,
    version: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) sha256: String,
    /// Size of the file.
    pub(crate) bytes: u64,
    #[serde(default)]
    cpu: Vec<String>,
    #[serde(default)]
    cuda: Vec<String>,
}

/// How much of libtorch a private copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What runs on the CPU.
    Cpu,
    /// All of it.
    Cuda,
}

impl Part {
    /// As it stands in folder names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl Pinned {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or says something unknown.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
    }

    /// The wheels that a part needs, with the names of what is taken out of each.
    pub(crate) fn wheels(&self, part: Part) -> Vec<(&Wheel, &[String])> {
        self.wheels
            .iter()
            .map(|wheel| (wheel, wheel.taken(part)))
            .filter(|(_, taken)| !taken.is_empty())
            .collect()
    }

    /// The wheel's own version, or libtorch's.
    pub(crate) fn version_of<'a>(&'a self, wheel: &'a Wheel) -> &'a str {
        wheel.version.as_deref().unwrap_or(&self.version)
    }

    /// Size of a part on disk, unpacked.
    pub(crate) fn unpacked_bytes(&self, part: Part) -> u64 {
        match part {
            Part::Cpu => self.unpacked_bytes.cpu,
            Part::Cuda => self.unpacked_bytes.cuda,
        }
    }
}

impl Wheel {
    fn taken(&self, part: Part) -> &[String] {
        match part {
            Part::Cpu => &self.cpu,
            Part::Cuda => &self.cuda,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_this_checkout_is_complete() {
        let pinned =
            Pinned::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../libtorch.toml"))).unwrap();
        let cpu = pinned.wheels(Part::Cpu);
        let cuda = pinned.wheels(Part::Cuda);
        assert!(cpu.iter().any(|(wheel, _)| wheel.project == "torch"));
        assert!(cuda.len() > cpu.len(), "CUDA needs more than the CPU part");
        for (wheel, _) in cuda {
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.project);
            assert!(wheel.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{}", wheel.project);
            assert!(wheel.bytes > 0, "{}", wheel.project);
        }
    }

    #[test]
    fn tch_binds_the_version_that_is_fetched() {
        let pinned =
            Pinned::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../libtorch.toml"))).unwrap();
        let workspace = include_str!("../../Cargo.toml");
        // tch 0.24 binds PyTorch 2.11.0, and each later minor version the next one.
        for (tch, libtorch) in
            [("\"=0.24.0\"", "2.11.0"), ("\"=0.25.0\"", "2.12.0"), ("\"=0.26.0\"", "2.13.0")]
        {
            if workspace.contains(&format!("tch = {tch}")) {
                assert_eq!(pinned.version, libtorch, "tch {tch} binds another libtorch");
                return;
            }
        }
        panic!("this test does not know which libtorch the workspace's tch binds: add a pair to its table");
    }
}

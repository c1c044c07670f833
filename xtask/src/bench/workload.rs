//! What a program is asked to time, and how it is asked.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

/// A modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Pictures of 224 pixels.
    Image,
    /// Sound of 16 kHz.
    Speech,
    /// 512 tokens.
    Text,
}

impl Case {
    /// What `--case` of the programs calls it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Image => "vision",
            Self::Speech => "audio",
            Self::Text => "text",
        }
    }

    /// Samples per step where none are asked for: what a Base step of some seconds on two cores takes.
    pub(crate) fn batch(self) -> u32 {
        match self {
            Self::Image => 8,
            Self::Speech | Self::Text => 4,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Text => "text",
        })
    }
}

/// A named size of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Size {
    /// 192 wide, 12 blocks.
    Tiny,
    /// 384 wide, 12 blocks.
    Small,
    /// 768 wide, 12 blocks.
    Base,
    /// 1024 wide, 24 blocks.
    Large,
}

impl Size {
    /// What `--size` of the programs calls it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Base => "base",
            Self::Large => "large",
        }
    }
}

/// Kind of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Precision {
    /// f32 throughout.
    F32,
    /// f32 whose products on CUDA use 10 bits of mantissa.
    Tf32,
    /// Products in bf16.
    Bf16,
}

impl Precision {
    /// What the programs call it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Samples per step of one case: `image=64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchOf {
    pub(crate) case: Case,
    pub(crate) samples: u32,
}

impl FromStr for BatchOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("`{text}` must be a case and a number of samples from 1 on, such as image=64");
        let (case, samples) = text.split_once('=').ok_or_else(rule)?;
        let case = Case::from_str(case, false).map_err(|_| rule())?;
        match samples.parse() {
            Ok(samples @ 1..) => Ok(Self { case, samples }),
            _ => Err(rule()),
        }
    }
}

/// Steps of one case, the same for every program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Workload {
    pub(crate) case: Case,
    pub(crate) size: Size,
    /// Samples per step.
    pub(crate) batch: u32,
    /// Length of each sound; other cases have one length.
    pub(crate) seconds: f64,
    pub(crate) device: String,
    pub(crate) precision: Precision,
    /// Steps timed.
    pub(crate) steps: u32,
    /// Steps before.
    pub(crate) warmup: u32,
    pub(crate) threads: u32,
}

impl Workload {
    /// The flags that d2v and the PyTorch program have in common.
    pub(crate) fn flags(&self) -> Vec<String> {
        let values = [
            ("--case", self.case.flag().to_owned()),
            ("--size", self.size.flag().to_owned()),
            ("--batch", self.batch.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--device", self.device.clone()),
            ("--steps", self.steps.to_string()),
            ("--warmup", self.warmup.to_string()),
            ("--threads", self.threads.to_string()),
        ];
        values.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_its_case() {
        assert_eq!("speech=64".parse(), Ok(BatchOf { case: Case::Speech, samples: 64 }));
        for text in ["64", "speech=0", "speech=", "sound=3", "image=-1"] {
            let error = text.parse::<BatchOf>().unwrap_err();
            assert!(error.contains(text) && error.contains("image=64"), "{error}");
        }
    }
}

//! What a data set is: a fixed list of samples with stable ids, decoded one at a time on any thread.

use crate::batch::Skipped;
use crate::error::Error;
use crate::picture::ImageRgb;
use crate::waveform::Waveform;
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A fixed, indexed list of samples.
///
/// The order of indices never changes between two openings of the same data, whatever the file system lists first.
/// `load` is called from several threads at once.
pub trait Dataset: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there is no sample at all. The data sets of this crate refuse to open when they would be empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stable id of a sample: the key of its randomness, the same on every machine.
    ///
    /// # Panics
    /// If `index >= len()`; so do `label`, `name` and `load`.
    fn id(&self, index: usize) -> u64;

    /// The class of a sample as an index into [`classes`](Self::classes), if it is known.
    fn label(&self, index: usize) -> Option<u32>;

    /// The names of the classes, in label order; empty if there are no labels.
    fn classes(&self) -> &[String];

    /// The group of a sample as an index into [`groups`](Self::groups), if it is known: a speaker, a device, whatever
    /// must not be on both sides of a split.
    fn group(&self, _index: usize) -> Option<u32> {
        None
    }

    /// The names of the groups; empty if there are none.
    fn groups(&self) -> &[String] {
        &[]
    }

    /// A name for messages: a path, or what stands for one.
    fn name(&self, index: usize) -> String;

    /// How long a sample is in the unit that batches of equal total length count: samples per channel of sound at
    /// the rate it is loaded at, tokens of text; 1 for a picture. Known without decoding.
    fn length(&self, _index: usize) -> usize {
        1
    }

    /// The sample, decoded but not augmented.
    ///
    /// # Errors
    /// If the file cannot be read or decoded, or breaks a limit. The loader replaces such a sample by another.
    fn load(&self, index: usize) -> Result<RawSample, Error>;

    /// What was found beside the samples and left out on purpose, with reasons.
    fn ignored(&self) -> &Ignored {
        static NONE: Ignored = Ignored::NONE;
        &NONE
    }
}

/// Which part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The `train` level; everything, if the data has no such level.
    Train,
    /// The `test` level, else the `val` or `valid` level.
    Test,
    /// Every sample of every level.
    All,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::All => "all",
        })
    }
}

/// A decoded sample, before augmentation.
#[derive(Debug, Clone, PartialEq)]
pub enum RawSample {
    /// An RGB picture of any size.
    Image(ImageRgb),
    /// Sound at the data set's rate.
    Audio(Waveform),
    /// Token ids of one block of text, special tokens included, no padding.
    Text(Vec<u32>),
}

impl RawSample {
    pub(crate) fn modality(&self) -> &'static str {
        match self {
            Self::Image(_) => "pictures",
            Self::Audio(_) => "sound",
            Self::Text(_) => "text",
        }
    }
}

/// What the network is fed for one sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A normalised picture, shape `[C = 3, H, W]`.
    Image(Array3<f32>),
    /// A normalised waveform, shape `[C, T]`.
    Audio(Array2<f32>),
    /// Token ids.
    Text(Vec<u32>),
}

impl Input {
    /// How long it is: samples per channel, tokens; 1 for a picture.
    pub fn length(&self) -> usize {
        match self {
            Self::Image(_) => 1,
            Self::Audio(samples_ct) => samples_ct.ncols(),
            Self::Text(tokens) => tokens.len(),
        }
    }
}

/// One sample, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The stable id, see [`Dataset::id`].
    pub id: u64,
    /// The index in the data set.
    pub index: usize,
    /// The class, if known.
    pub label: Option<u32>,
    /// The augmented, normalised input.
    pub input: Input,
}

/// Why something was left out when data was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhyIgnored {
    /// It is not meant: a link, a device, a name that leads out of the archive or does not fit the pattern.
    NotMeant,
    /// It is in order but shorter than a sample may be.
    TooShort,
    /// It is meant and cannot be used: damaged, not decoded here, beyond a limit. Such files count as unreadable
    /// samples in training, see [`LoaderConfig::unreadable_limit`](crate::LoaderConfig::unreadable_limit).
    Unreadable,
}

/// Things found in the data and left out when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    listed: Vec<Skipped>,
    /// The reasons of those listed.
    whys: Vec<WhyIgnored>,
    not_meant: u64,
    too_short: u64,
    unreadable: u64,
}

impl Ignored {
    /// Only so many are listed by name for each reason, so that an archive of nothing but links cannot fill the memory.
    pub const MAX_LISTED: usize = 1_000;

    /// Nothing was left out.
    pub const NONE: Self =
        Self { listed: Vec::new(), whys: Vec::new(), not_meant: 0, too_short: 0, unreadable: 0 };

    /// The first [`MAX_LISTED`](Self::MAX_LISTED) of each reason.
    pub fn listed(&self) -> &[Skipped] {
        &self.listed
    }

    /// Those of [`listed`](Self::listed) that were left out for a reason.
    pub fn listed_for(&self, why: WhyIgnored) -> impl Iterator<Item = &Skipped> {
        self.listed.iter().zip(&self.whys).filter(move |(_, of)| **of == why).map(|(skipped, _)| skipped)
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.not_meant + self.too_short + self.unreadable
    }

    /// How many there were for a reason.
    pub fn count(&self, why: WhyIgnored) -> u64 {
        match why {
            WhyIgnored::NotMeant => self.not_meant,
            WhyIgnored::TooShort => self.too_short,
            WhyIgnored::Unreadable => self.unreadable,
        }
    }

    /// Adds what is not meant.
    pub(crate) fn add(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.add_for(WhyIgnored::NotMeant, name, reason);
    }

    pub(crate) fn add_for(&mut self, why: WhyIgnored, name: impl Into<String>, reason: impl Into<String>) {
        let count = match why {
            WhyIgnored::NotMeant => &mut self.not_meant,
            WhyIgnored::TooShort => &mut self.too_short,
            WhyIgnored::Unreadable => &mut self.unreadable,
        };
        *count += 1;
        if *count <= Self::MAX_LISTED as u64 {
            self.listed.push(Skipped { name: name.into(), reason: reason.into() });
            self.whys.push(why);
        }
    }
}

/// The id of the sample that `name` stands for: the first eight bytes of its SHA-256, little endian.
///
/// For pictures the name is the path below the folder or inside the archive, with `/` between the parts.
pub(crate) fn stable_id(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_pinned() {
        // `printf 'train/cat/1.jpg' | sha256sum | cut -c1-16`, bytes reversed.
        assert_eq!(stable_id("train/cat/1.jpg"), 0x7cd6_a9ba_23ba_1534);
        assert_ne!(stable_id("train/cat/1.jpg"), stable_id("train/cat/2.jpg"));
    }

    #[test]
    fn the_list_of_ignored_things_is_bounded() {
        let mut ignored = Ignored::NONE;
        for i in 0..2 * Ignored::MAX_LISTED {
            ignored.add(format!("link{i}"), "a link");
        }
        ignored.add_for(WhyIgnored::Unreadable, "broken", "it is text");
        assert_eq!((ignored.listed().len(), ignored.total()), (1_001, 2_001));
        assert_eq!((ignored.count(WhyIgnored::NotMeant), ignored.count(WhyIgnored::Unreadable)), (2_000, 1));
        let broken: Vec<&str> =
            ignored.listed_for(WhyIgnored::Unreadable).map(|left| left.name.as_str()).collect();
        assert_eq!(broken, ["broken"]);
        assert_eq!(ignored.listed_for(WhyIgnored::TooShort).count(), 0);
    }
}

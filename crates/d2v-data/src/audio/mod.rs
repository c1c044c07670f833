//! Sound: what `--data PATH` holds as recordings, opened as a data set of decoded, resampled samples.

mod decode;
mod error;
mod files;
mod labels;
mod list;
mod resample;
mod segments;
mod synthetic;
mod window;

pub use error::AudioError;
pub use files::AudioFiles;
pub use labels::{AudioLabels, TestWhen};
pub use synthetic::{SyntheticSounds, SyntheticSoundsConfig};

use crate::dataset::{Dataset, Split};
use crate::error::Error;
use crate::source::archive;
use crate::source::listing::{Found, Listing, Place};
use crate::source::{folder, matching_archives};
use crate::transform::check_setting;
use labels::NameParts;
use list::Listed;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How recordings become samples. Defaults are those of data2vec's speech pre-training (specification 2.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AudioOptions {
    /// Samples per second of what is loaded, 1 to 768,000; files of another rate are resampled. Default 16,000.
    pub sample_rate_hz: u32,
    /// Channels of what is loaded, 1 to 64. With 1 (the default) it is the mean of a file's channels; otherwise files
    /// must have so many.
    pub channels: usize,
    /// Files, and last parts of long files, shorter than this are left out. At least 0, less than `max_seconds`.
    /// Default 2.
    pub min_seconds: f64,
    /// Files longer than this are cut into parts of this length, which are samples of their own, named `file#0`,
    /// `file#1` and so on. 0.01 to 3,600, and the time of a sample at least. Default 20.
    pub max_seconds: f64,
    /// Where labels, groups and the test part come from. Default: a list's second column, otherwise folders.
    pub labels: AudioLabels,
    /// What a file may cost.
    pub limits: AudioLimits,
}

impl Default for AudioOptions {
    fn default() -> Self {
        Self {
            sample_rate_hz: 16_000,
            channels: 1,
            min_seconds: 2.0,
            max_seconds: 20.0,
            labels: AudioLabels::default(),
            limits: AudioLimits::default(),
        }
    }
}

/// Limits on what sound files may cost, however long they say they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AudioLimits {
    /// Bytes of one encoded file. Default 8 GiB: parts are read, never the whole.
    pub max_file_bytes: u64,
    /// Length of one file. Default a day, 86,400 s.
    pub max_file_seconds: f64,
    /// How many bytes may be held in memory for what cannot be read in place: the decompressed content of .tar.gz
    /// archives (all of it counts) and lists. Default 2 GiB.
    pub memory_limit_bytes: u64,
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self { max_file_bytes: 8 << 30, max_file_seconds: 86_400.0, memory_limit_bytes: 2 << 30 }
    }
}

impl AudioOptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of range; [`AudioError::Pattern`] if the pattern for labels means
    /// nothing.
    pub fn validate(&self) -> Result<(), Error> {
        let rate = |rate: u32| (1..=decode::MAX_RATE_HZ).contains(&rate);
        check_setting("sample_rate_hz", self.sample_rate_hz, rate, "must be 1 to 768000")?;
        check_setting("channels", self.channels, |count| (1..=64).contains(&count), "must be 1 to 64")?;
        let longest = |seconds: f64| {
            (0.01..=3_600.0).contains(&seconds) && seconds * f64::from(self.sample_rate_hz) >= 1.0
        };
        check_setting(
            "max_seconds",
            self.max_seconds,
            longest,
            "must be 0.01 to 3600, and the time of a sample at least",
        )?;
        let shortest = |seconds: f64| (0.0..self.max_seconds).contains(&seconds);
        check_setting("min_seconds", self.min_seconds, shortest, "must be 0 or more, below `max_seconds`")?;
        let limit = |seconds: f64| seconds > 0.0;
        check_setting("max_file_seconds", self.limits.max_file_seconds, limit, "must be above 0")?;
        if let AudioLabels::Pattern { pattern, test_when } = &self.labels {
            labels::Template::new(pattern, test_when.as_ref())?;
        }
        Ok(())
    }
}

/// Opens the recordings at `path`, whatever of these it is:
///
/// - a folder, flat or with a folder per class, with or without a `train`/`test` level above;
/// - a `.tar` (read in place), `.tar.gz` or `.tgz` archive of the same;
/// - a pattern such as `shards-*.tar`, for archives that together are one data set;
/// - a manifest of fairseq, `.tsv`: a folder in the first line, then `path<TAB>number of samples` (which is not relied
///   on: the file's header counts);
/// - a list, `.csv`, `.tsv` or `.txt`: `path<TAB>label` or `path,label`, and in every line or in none a group behind
///   it; relative paths below the list's folder;
/// - a single file.
///
/// Of folders and archives the files called .wav, .flac, .mp3, .ogg, .oga or .opus count, in any case; what they are is
/// told by content: WAV (PCM, float, A-law, mu-law), FLAC, MP3, Ogg with Vorbis or FLAC. Opus is not decoded: such files
/// are listed with the way to convert them.
///
/// Every file's header is read here, on all processors, for its length; nothing is decoded. Files that cannot be used
/// are left out and listed in [`Dataset::ignored`] with the reason: [too short](crate::WhyIgnored::TooShort); damaged, too
/// long or of other channels ([unreadable](crate::WhyIgnored::Unreadable)); a name that does not fit the pattern.
///
/// # Errors
/// If settings are out of range, nothing is there or of no known kind, an archive or a list is damaged or beyond the
/// limits, no usable sound or no such split is in it.
pub fn open_audio(path: &Path, split: Split, options: &AudioOptions) -> Result<Box<dyn Dataset>, Error> {
    options.validate()?;
    let memory_limit_bytes = options.limits.memory_limit_bytes;
    let unlabelled = |listing: Listing| {
        let names = vec![NameParts::default(); listing.found.len()];
        Listed { listing, names, has_labels: false }
    };
    let listed = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => unlabelled(folder::list(path, has_sound_name)?),
        Ok(_) if archive::has_archive_name(path) => {
            unlabelled(archive::list(&[path.to_owned()], has_sound_name, memory_limit_bytes)?)
        }
        Ok(_) if list::has_list_name(path) => list::read(path, memory_limit_bytes)?,
        Ok(_) => unlabelled(single(path)),
        Err(source) => match path.to_str() {
            Some(pattern) if pattern.contains(['*', '?', '[']) => {
                let shards = matching_archives(pattern)?;
                unlabelled(archive::list(&shards, has_sound_name, memory_limit_bytes)?)
            }
            _ => return Err(Error::Io { path: path.to_owned(), source }),
        },
    };
    Ok(Box::new(AudioFiles::new(path, listed, split, options)?))
}

fn single(path: &Path) -> Listing {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let found = Found { path: name, shard: String::new(), place: Place::File(path.to_owned()) };
    Listing { found: vec![found], ..Listing::default() }
}

/// Whether a file is sound by its extension; macOS puts companions called `._x.wav` into archives, which are not.
fn has_sound_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    !name.starts_with("._")
        && matches!(extension.as_deref(), Some("wav" | "wave" | "flac" | "mp3" | "ogg" | "oga" | "opus"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_stray_keys_refused() {
        let with =
            |text: &str| toml::from_str::<AudioOptions>(text).map(|options| options.validate().is_ok());
        assert_eq!(with(""), Ok(true));
        for text in [
            "sample_rate_hz = 0",
            "sample_rate_hz = 800_000",
            "channels = 0",
            "max_seconds = nan",
            "max_seconds = 1.0",
            "min_seconds = -1.0",
            "limits.max_file_seconds = 0.0",
            "labels = { kind = 'pattern', pattern = 'x' }",
        ] {
            assert_eq!(with(text), Ok(false), "{text}");
        }
        for text in ["stray = 1", "limits.stray = 1", "labels = { kind = 'folder', stray = 1 }"] {
            assert!(with(text).is_err(), "{text}");
        }
        let options = AudioOptions {
            labels: AudioLabels::Pattern { pattern: "{label}_x".into(), test_when: None },
            ..AudioOptions::default()
        };
        let text = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<AudioOptions>(&text).unwrap(), options, "{text}");
    }

    #[test]
    fn sounds_are_known_by_extension() {
        for name in ["a.wav", "x/y.FLAC", "b.Mp3", "c.ogg"] {
            assert!(has_sound_name(name), "{name}");
        }
        for name in ["a.png", "wav", "x.wav/y", "._a.wav", "notes.txt", ""] {
            assert!(!has_sound_name(name), "{name}");
        }
    }
}

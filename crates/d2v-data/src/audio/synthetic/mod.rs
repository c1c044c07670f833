//! The built-in sounds: words of vowels spoken by drawn voices, labels and speakers known, nothing to download.

mod utterance;
mod voice;

use crate::dataset::{Dataset, RawSample, Split};
use crate::error::Error;
use crate::random::{Domain, keyed_rng};
use crate::transform::check_setting;
use crate::waveform::Waveform;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use utterance::{Word, draw};
use voice::Voice;

/// Size, rate and length of the built-in sounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticSoundsConfig {
    /// Another seed draws another data set. Keep it when comparing runs of several seeds. Default 0.
    pub seed: u64,
    /// Samples per second, 4,000 to 48,000. Default 16,000.
    pub sample_rate_hz: u32,
    /// Sounds to train on, at least 1. They are drawn when asked for, so length costs nothing. Default 20,000.
    pub train_sounds: usize,
    /// Sounds to test on, at least 1, different from those. Default 4,000.
    pub test_sounds: usize,
    /// Classes, 2 to 24. Default 12.
    pub classes: usize,
    /// The shortest, in seconds: 1 to 60. Default 1.
    pub min_seconds: f64,
    /// The longest, in seconds: `min_seconds` to 60. Default 2.5.
    pub max_seconds: f64,
}

impl Default for SyntheticSoundsConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            sample_rate_hz: 16_000,
            train_sounds: 20_000,
            test_sounds: 4_000,
            classes: 12,
            min_seconds: 1.0,
            max_seconds: 2.5,
        }
    }
}

/// Utterances of one word of three vowels, said again and again, with tones and glides between.
///
/// The class is the word: which three of the vowels a, i, u, e, and in which order. Every set of three vowels is in
/// several classes, which differ in nothing but the order, so what is in the sound says at most which set it is. Vowels
/// are a harmonic source through three resonances; pitch and its course, loudness, the length of every syllable, the
/// quality of each vowel, pauses, tones, glides, the microphone's tilt and background noise are random and independent of the class. The group
/// is the speaker: pitch range, size of the vocal tract, tempo; sixteen of them, each saying every class equally often.
///
/// Nearest class means over spectra averaged in time answer 33 % of the test sounds right, where chance is 8 %
/// and knowing the vowels without their order is worth just that (`tests/sounds_are_hard.rs`).
///
/// Sample `i` is a pure function of `(seed, split, i)`; classes take turns, then speakers. Train and test sounds come
/// from different streams, with the same speakers.
pub struct SyntheticSounds {
    config: SyntheticSoundsConfig,
    split: Split,
    classes: Vec<String>,
    groups: Vec<String>,
}

/// Set in the ids of test sounds.
const TEST_BIT: u64 = 1 << 63;

impl SyntheticSounds {
    /// A part of the data set; [`Split::All`] is the train part followed by the test part.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range.
    pub fn new(config: SyntheticSoundsConfig, split: Split) -> Result<Self, Error> {
        let rate = |rate: u32| (4_000..=48_000).contains(&rate);
        check_setting("sample_rate_hz", config.sample_rate_hz, rate, "must be 4000 to 48000")?;
        for (name, sounds) in [("train_sounds", config.train_sounds), ("test_sounds", config.test_sounds)] {
            check_setting(name, sounds, |sounds| (1..=1 << 40).contains(&sounds), "must be 1 to 2^40")?;
        }
        let classes = |classes: usize| (2..=Word::COUNT).contains(&classes);
        check_setting("classes", config.classes, classes, "must be 2 to 24")?;
        let shortest = |seconds: f64| (1.0..=60.0).contains(&seconds);
        check_setting("min_seconds", config.min_seconds, shortest, "must be 1 to 60")?;
        let longest = |seconds: f64| (config.min_seconds..=60.0).contains(&seconds);
        check_setting("max_seconds", config.max_seconds, longest, "must be `min_seconds` to 60")?;
        let classes = (0..config.classes).map(|class| Word::of_class(class).name()).collect();
        let groups = (0..Voice::COUNT).map(|speaker| format!("speaker {speaker}")).collect();
        Ok(Self { config, split, classes, groups })
    }

    /// Whether an index is of the test part, and its place there or in the train part.
    fn locate(&self, index: usize) -> (bool, u64) {
        assert!(index < self.len(), "index {index} of a data set of {}", self.len());
        let train = self.config.train_sounds;
        match self.split {
            Split::Train => (false, index as u64),
            Split::Test => (true, index as u64),
            Split::All if index < train => (false, index as u64),
            Split::All => (true, (index - train) as u64),
        }
    }

    fn class(&self, index: usize) -> usize {
        (self.locate(index).1 % self.config.classes as u64) as usize
    }

    fn speaker(&self, index: usize) -> usize {
        (self.locate(index).1 / self.config.classes as u64 % Voice::COUNT as u64) as usize
    }

    /// The sample's stream, of which the first number is its length.
    fn length_and_stream(&self, index: usize) -> (usize, ChaCha8Rng) {
        let SyntheticSoundsConfig { seed, sample_rate_hz, min_seconds, max_seconds, .. } = self.config;
        let (is_test, place) = self.locate(index);
        // Apart from the built-in pictures, which draw with 0 and 1.
        let mut rng = keyed_rng(Domain::Draw, seed, 2 + u64::from(is_test), place);
        let seconds = rng.random_range(min_seconds..=max_seconds);
        ((seconds * f64::from(sample_rate_hz)) as usize, rng)
    }
}

impl Dataset for SyntheticSounds {
    fn len(&self) -> usize {
        match self.split {
            Split::Train => self.config.train_sounds,
            Split::Test => self.config.test_sounds,
            Split::All => self.config.train_sounds + self.config.test_sounds,
        }
    }

    fn id(&self, index: usize) -> u64 {
        let (is_test, place) = self.locate(index);
        if is_test { place | TEST_BIT } else { place }
    }

    fn label(&self, index: usize) -> Option<u32> {
        u32::try_from(self.class(index)).ok()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn group(&self, index: usize) -> Option<u32> {
        u32::try_from(self.speaker(index)).ok()
    }

    fn groups(&self) -> &[String] {
        &self.groups
    }

    fn name(&self, index: usize) -> String {
        let (is_test, place) = self.locate(index);
        format!("built-in sound {}#{place}", if is_test { Split::Test } else { Split::Train })
    }

    fn length(&self, index: usize) -> usize {
        self.length_and_stream(index).0
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        let (length, mut rng) = self.length_and_stream(index);
        let SyntheticSoundsConfig { seed, sample_rate_hz, .. } = self.config;
        let voice = Voice::of_speaker(seed, self.speaker(index));
        let samples = draw(Word::of_class(self.class(index)), &voice, sample_rate_hz, length, &mut rng);
        Waveform::mono(sample_rate_hz, samples).map(RawSample::Audio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(split: Split, config: SyntheticSoundsConfig) -> SyntheticSounds {
        SyntheticSounds::new(config, split).unwrap()
    }

    fn sound(set: &SyntheticSounds, index: usize) -> Waveform {
        let RawSample::Audio(sound) = set.load(index).unwrap() else { panic!("not sound") };
        sound
    }

    #[test]
    fn a_sound_depends_on_seed_split_and_index_only() {
        let config = SyntheticSoundsConfig { train_sounds: 40, ..SyntheticSoundsConfig::default() };
        let (train, test, all) = (of(Split::Train, config), of(Split::Test, config), of(Split::All, config));
        assert_eq!(sound(&train, 3), sound(&of(Split::Train, config), 3));
        assert_ne!(sound(&train, 3), sound(&train, 15));
        assert_ne!(sound(&train, 3), sound(&test, 3));
        assert_ne!(
            sound(&train, 3),
            sound(&of(Split::Train, SyntheticSoundsConfig { seed: 1, ..config }), 3)
        );
        for (index, set, inside) in [(3, &train, 3), (42, &test, 2)] {
            assert_eq!(sound(&all, index), sound(set, inside));
            let told = |set: &SyntheticSounds, index| (set.id(index), set.label(index), set.group(index));
            assert_eq!(told(&all, index), told(set, inside));
        }
        assert_ne!(train.id(3), test.id(3));
    }

    #[test]
    fn lengths_are_known_beforehand_and_levels_are_sane() {
        let set = of(Split::Train, SyntheticSoundsConfig::default());
        for index in 0..40 {
            let sound = sound(&set, index);
            assert_eq!(sound.len(), set.length(index));
            assert!((16_000..=40_000).contains(&sound.len()), "{}", sound.len());
            let samples = sound.into_array();
            let loudest = samples.iter().fold(0.0_f32, |loudest, value| loudest.max(value.abs()));
            assert!((0.05..=1.0).contains(&loudest), "sound {index}: {loudest}");
        }
    }

    #[test]
    fn classes_and_speakers_are_balanced() {
        let set = of(Split::Train, SyntheticSoundsConfig::default());
        assert_eq!((set.classes().len(), set.groups().len()), (12, 16));
        let mut counts = vec![0; 12 * 16];
        for index in 0..3 * 12 * 16 {
            counts[(12 * set.group(index).unwrap() + set.label(index).unwrap()) as usize] += 1;
        }
        assert_eq!(counts, vec![3; 12 * 16]);
    }

    #[test]
    fn settings_are_checked() {
        let with = |text: &str| {
            let config = toml::from_str::<SyntheticSoundsConfig>(text).unwrap();
            SyntheticSounds::new(config, Split::All).is_ok()
        };
        assert!(with("") && with("sample_rate_hz = 8000") && with("classes = 24"));
        for text in [
            "classes = 1",
            "classes = 25",
            "max_seconds = 0.9",
            "min_seconds = nan",
            "test_sounds = 0",
            "sample_rate_hz = 2",
        ] {
            assert!(!with(text), "{text}");
        }
    }
}

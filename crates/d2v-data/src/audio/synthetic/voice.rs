//! Speakers, vowels, and how a vowel is made to sound: a harmonic source through three resonances.

use crate::random::{Domain, keyed_rng};
use rand::RngExt;
use std::f32::consts::TAU;

/// What distinguishes one speaker from another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Voice {
    /// Middle of the pitch range, in Hz.
    pub(super) pitch_hz: f32,
    /// All resonances are so many times as high: above 1 for a short vocal tract.
    pub(super) formant_scale: f32,
    /// Syllables are so many times as long.
    pub(super) tempo: f32,
    /// Bandwidths are so many times as broad.
    breadth: f32,
}

impl Voice {
    /// How many speakers there are.
    pub(super) const COUNT: usize = 16;

    /// A speaker of the data set with this seed.
    pub(super) fn of_speaker(seed: u64, speaker: usize) -> Self {
        // Apart from the streams of the sounds themselves, which draw with 2 and 3.
        let mut rng = keyed_rng(Domain::Draw, seed, 4, speaker as u64);
        // Spread over the range, so that no two speakers are alike: 85 to 250 Hz.
        let height = (speaker as f32 + rng.random_range(0.1..0.9)) / Self::COUNT as f32;
        Self {
            pitch_hz: 85.0 * (250.0_f32 / 85.0).powf(height),
            formant_scale: 0.88 + 0.28 * (0.7 * height + 0.3 * rng.random_range(0.0..1.0)),
            tempo: rng.random_range(0.85..1.15),
            breadth: rng.random_range(0.8..1.4),
        }
    }
}

/// A vowel by its place in [`FORMANTS_HZ`].
pub(super) type Vowel = usize;

/// The names of the vowels.
pub(super) const VOWELS: [&str; 4] = ["a", "i", "u", "e"];

/// The first three resonances of each vowel, in Hz: rounded middle values of what phonetics books give for adults.
const FORMANTS_HZ: [[f32; 3]; 4] = [
    [750.0, 1_250.0, 2_500.0],
    [300.0, 2_200.0, 2_950.0],
    [320.0, 850.0, 2_300.0],
    [480.0, 1_850.0, 2_550.0],
];

/// The bandwidths of the three resonances, in Hz.
const BANDWIDTHS_HZ: [f32; 3] = [80.0, 100.0, 140.0];

/// The resonances of a vowel as this voice says it.
pub(super) fn formants_hz(vowel: Vowel, voice: &Voice) -> [f32; 3] {
    FORMANTS_HZ[vowel].map(|hz| hz * voice.formant_scale)
}

/// A source and three resonators in a row, with their state.
pub(super) struct Tract {
    rate_hz: f32,
    breadth: f32,
    phase: f32,
    resonators: [Resonator; 3],
}

/// A filter with two poles, of gain 1 at 0 Hz.
#[derive(Debug, Clone, Copy, Default)]
struct Resonator {
    gain: f32,
    back1: f32,
    back2: f32,
    last: f32,
    before: f32,
}

impl Tract {
    pub(super) fn new(rate_hz: u32, voice: &Voice) -> Self {
        let resonators = [Resonator::default(); 3];
        Self { rate_hz: rate_hz as f32, breadth: voice.breadth, phase: 0.0, resonators }
    }

    /// Sets the resonances, in Hz; what the rate cannot hold stays below 45 % of it.
    pub(super) fn tune(&mut self, formants_hz: [f32; 3]) {
        for ((resonator, hz), bandwidth_hz) in self.resonators.iter_mut().zip(formants_hz).zip(BANDWIDTHS_HZ)
        {
            let angle = TAU * hz.min(0.45 * self.rate_hz) / self.rate_hz;
            let radius = (-0.5 * TAU * bandwidth_hz * self.breadth / self.rate_hz).exp();
            resonator.back1 = 2.0 * radius * angle.cos();
            resonator.back2 = -radius * radius;
            resonator.gain = 1.0 - resonator.back1 - resonator.back2;
        }
    }

    /// The next sample at a pitch: a sawtooth, all harmonics of which are there, through the resonators.
    pub(super) fn next(&mut self, pitch_hz: f32) -> f32 {
        self.phase += pitch_hz / self.rate_hz;
        self.phase -= self.phase.floor();
        self.resonators.iter_mut().fold(1.0 - 2.0 * self.phase, |sample, resonator| resonator.next(sample))
    }
}

impl Resonator {
    fn next(&mut self, sample: f32) -> f32 {
        let next = self.gain * sample + self.back1 * self.last + self.back2 * self.before;
        self.before = self.last;
        self.last = next;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_speakers_are_alike() {
        let voices: Vec<Voice> = (0..Voice::COUNT).map(|speaker| Voice::of_speaker(0, speaker)).collect();
        assert!(voices.windows(2).all(|pair| pair[0].pitch_hz < pair[1].pitch_hz), "{voices:?}");
        assert!(voices.iter().all(|voice| (85.0..250.0).contains(&voice.pitch_hz)));
        assert_eq!(voices[3], Voice::of_speaker(0, 3));
        assert_ne!(voices[3], Voice::of_speaker(1, 3));
    }

    /// The loudest harmonic of a vowel lies at its first resonance.
    #[test]
    fn vowels_resonate_where_they_should() {
        let voice = Voice { pitch_hz: 100.0, formant_scale: 1.0, tempo: 1.0, breadth: 1.0 };
        for (vowel, name) in VOWELS.iter().enumerate() {
            let mut tract = Tract::new(16_000, &voice);
            tract.tune(formants_hz(vowel, &voice));
            let samples: Vec<f32> = (0..16_000).map(|_| tract.next(100.0)).skip(8_000).collect();
            let loudness = |hz: f32| {
                let part = |shift: f32| -> f32 {
                    let wave = |at: usize| (TAU * hz * at as f32 / 16_000.0 + shift).cos();
                    samples.iter().enumerate().map(|(at, sample)| sample * wave(at)).sum()
                };
                part(0.0).hypot(part(TAU / 4.0)) * hz
            };
            // Against the source's fall of 1 / harmonic.
            let loudest = (2..=12_u8)
                .max_by(|&a, &b| loudness(100.0 * f32::from(a)).total_cmp(&loudness(100.0 * f32::from(b))));
            let hz = 100.0 * f32::from(loudest.unwrap());
            let expected = FORMANTS_HZ[vowel];
            assert!(expected.iter().any(|formant| (hz - formant).abs() <= 60.0), "{name}: {hz} Hz");
        }
    }
}

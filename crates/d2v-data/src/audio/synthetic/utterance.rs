//! An utterance: a word of three vowels repeated, with pauses, tones and glides, in background noise.

use super::voice::{Tract, VOWELS, Voice, Vowel, formants_hz};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::f32::consts::TAU;

/// Three different vowels in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word([Vowel; 3]);

/// The orders of three things, each followed by its reverse.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];
/// Resonances move so many samples at a time: fast enough to be heard as a glide, slow enough to cost little.
const TUNING_SAMPLES: usize = 32;
/// The share of a syllable in which the resonances move from those of the last one.
const GLIDE: f32 = 0.3;

impl Word {
    /// How many words there are: any three of four vowels in any order.
    pub(super) const COUNT: usize = VOWELS.len() * ORDERS.len();

    /// Classes go through the four sets of three vowels first, then through their orders.
    pub(super) fn of_class(class: usize) -> Self {
        let without = class % VOWELS.len();
        let mut set = (0..VOWELS.len()).filter(|&vowel| vowel != without);
        let vowels = [(); 3].map(|()| set.next().unwrap_or_default());
        Self(ORDERS[class / VOWELS.len() % ORDERS.len()].map(|place| vowels[place]))
    }

    pub(super) fn name(self) -> String {
        self.0.map(|vowel| VOWELS[vowel]).concat()
    }
}

/// `length` samples within [-1, 1].
pub(super) fn draw(word: Word, voice: &Voice, rate_hz: u32, length: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut samples = Vec::with_capacity(length);
    let mut tract = Tract::new(rate_hz, voice);
    pause(&mut samples, rate_hz, 0.02..0.12, rng);
    while samples.len() < length {
        speak(&mut samples, word, voice, rate_hz, &mut tract, rng);
        pause(&mut samples, rate_hz, 0.04..0.12, rng);
        if rng.random_bool(0.5) {
            whistle(&mut samples, rate_hz, rng);
            pause(&mut samples, rate_hz, 0.03..0.08, rng);
        }
    }
    samples.truncate(length);
    finish(&mut samples, rng);
    samples
}

fn count(seconds: f32, rate_hz: u32) -> usize {
    (seconds * rate_hz as f32) as usize
}

fn pause(samples: &mut Vec<f32>, rate_hz: u32, seconds: std::ops::Range<f32>, rng: &mut ChaCha8Rng) {
    samples.resize(samples.len() + count(rng.random_range(seconds), rate_hz), 0.0);
}

/// One word: its vowels glide into each other, each with a swell, its own length, loudness and quality.
fn speak(
    samples: &mut Vec<f32>,
    word: Word,
    voice: &Voice,
    rate_hz: u32,
    tract: &mut Tract,
    rng: &mut ChaCha8Rng,
) {
    let mut from = formants_hz(word.0[0], voice);
    let mut pitch_hz = voice.pitch_hz * rng.random_range(0.9..1.2);
    for vowel in word.0 {
        let to = formants_hz(vowel, voice).map(|hz| hz * rng.random_range(0.93..1.07));
        let length = count(rng.random_range(0.08..0.16) * voice.tempo, rate_hz).max(1);
        let loudness = rng.random_range(0.5..1.0);
        let next_hz = pitch_hz * rng.random_range(0.85..1.08);
        for start in (0..length).step_by(TUNING_SAMPLES) {
            let moved = (start as f32 / length as f32 / GLIDE).min(1.0);
            let mut formants = to;
            formants.iter_mut().zip(from).for_each(|(to, from)| *to = from + (*to - from) * moved);
            tract.tune(formants);
            for at in start..(start + TUNING_SAMPLES).min(length) {
                let share = at as f32 / length as f32;
                // Half as loud at both ends as in the middle.
                let swell = 1.0 - 2.0 * (share - 0.5).powi(2);
                samples.push(loudness * swell * tract.next(pitch_hz + (next_hz - pitch_hz) * share));
            }
        }
        (from, pitch_hz) = (to, next_hz);
    }
}

/// A tone or a glide, which belongs to no class.
fn whistle(samples: &mut Vec<f32>, rate_hz: u32, rng: &mut ChaCha8Rng) {
    let start_hz = rng.random_range(250.0..1_600.0_f32);
    let end_hz = if rng.random_bool(0.5) { start_hz } else { rng.random_range(250.0..1_600.0) };
    let length = count(rng.random_range(0.06..0.15), rate_hz).max(1);
    let loudness = rng.random_range(0.3..0.9);
    let mut phase = 0.0_f32;
    for at in 0..length {
        let share = at as f32 / length as f32;
        phase += (start_hz + (end_hz - start_hz) * share) / rate_hz as f32;
        phase -= phase.floor();
        samples.push(loudness * (TAU * phase).sin() * (TAU / 2.0 * share).sin());
    }
}

/// Tilts the spectrum as another microphone would, brings the whole to a random level and lays noise under it, so that nothing is digital silence.
fn finish(samples: &mut [f32], rng: &mut ChaCha8Rng) {
    let tilt = rng.random_range(-0.5..0.8);
    let mut last = 0.0;
    for sample in samples.iter_mut() {
        let tilted = *sample - tilt * last;
        last = std::mem::replace(sample, tilted);
    }
    let loudest = samples.iter().fold(1e-3_f32, |loudest, sample| loudest.max(sample.abs()));
    let gain = rng.random_range(0.1..0.9) / loudest;
    let noise = rng.random_range(0.002..0.02) * gain * loudest;
    for sample in samples {
        *sample = (*sample * gain + noise * rng.random_range(-1.0..1.0_f32)).clamp(-1.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_all_different_and_sets_repeat() {
        let words: BTreeSet<String> = (0..Word::COUNT).map(|class| Word::of_class(class).name()).collect();
        assert_eq!(words.len(), 24);
        let names: Vec<String> = (0..8).map(|class| Word::of_class(class).name()).collect();
        assert_eq!(names, ["iue", "aue", "aie", "aiu", "eui", "eua", "eia", "uia"]);
    }
}

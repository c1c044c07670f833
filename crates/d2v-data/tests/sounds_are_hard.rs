//! The built-in sounds must not be solved by features that nobody learned: spectra averaged in time.
//!
//! The probe takes the class whose mean over the train part is nearest, in standardised features. Chance is 8.3 %; whoever
//! knows the vowels but not their order is right in 33 %.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{Dataset, RawSample, Split, SyntheticSounds, SyntheticSoundsConfig};
use std::f32::consts::TAU;

const CLASSES: usize = 12;
const TRAIN: usize = 384;
const TEST: usize = 240;
/// Bands of the averaged spectrum, a third of an octave apart from 200 Hz on.
const BANDS: usize = 13;
const RATE_HZ: u32 = 8_000;

/// The mean power in each band over the windows of 32 ms in each half of a sound.
type Halves = [[f64; BANDS]; 2];

fn halves(sound: &[f32]) -> Halves {
    let (first, second) = sound.split_at(sound.len() / 2);
    [first, second].map(|half| std::array::from_fn(|band| band_power(half, band)))
}

/// Logarithms of powers, without the loudness.
fn logarithms(powers: &[f64]) -> Vec<f64> {
    let logarithms: Vec<f64> = powers.iter().map(|power| power.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    logarithms.iter().map(|value| value - mean).collect()
}

fn band_power(sound: &[f32], band: usize) -> f64 {
    let hz = 200.0 * 2.0_f32.powf(band as f32 / 3.0);
    // One bin of a Fourier transform per window, by Goertzel's recurrence.
    let turn = 2.0 * (TAU * hz / RATE_HZ as f32).cos();
    let windows = sound.chunks_exact(256).map(|window| {
        let (last, before) =
            window.iter().fold((0.0, 0.0), |(last, before), sample| (sample + turn * last - before, last));
        f64::from(last * last + before * before - turn * last * before)
    });
    1e-6 + windows.sum::<f64>() / sound.len() as f64
}

fn draw(split: Split, count: usize) -> Vec<(Halves, usize)> {
    let config = SyntheticSoundsConfig { sample_rate_hz: RATE_HZ, ..SyntheticSoundsConfig::default() };
    let set = SyntheticSounds::new(config, split).unwrap();
    let of = |index| {
        let RawSample::Audio(sound) = set.load(index).unwrap() else { panic!("not sound") };
        (halves(sound.view().as_slice().unwrap()), set.label(index).unwrap() as usize)
    };
    (0..count).map(of).collect()
}

/// Test accuracy in percent of the nearest class mean.
fn accuracy(train: &[(Halves, usize)], test: &[(Halves, usize)], of: fn(&Halves) -> Vec<f64>) -> f64 {
    let features = |set: &[(Halves, usize)]| -> Vec<(Vec<f64>, usize)> {
        set.iter().map(|(halves, label)| (logarithms(&of(halves)), *label)).collect()
    };
    let (train, test) = (features(train), features(test));
    let width = train[0].0.len();
    let mean_of = |wanted: &dyn Fn(usize) -> bool| -> Vec<f64> {
        let chosen: Vec<_> = train.iter().filter(|(_, label)| wanted(*label)).collect();
        (0..width).map(|at| chosen.iter().map(|(x, _)| x[at]).sum::<f64>() / chosen.len() as f64).collect()
    };
    let mean = mean_of(&|_| true);
    let variance: Vec<f64> = (0..width)
        .map(|at| train.iter().map(|(x, _)| (x[at] - mean[at]).powi(2)).sum::<f64>() / TRAIN as f64)
        .collect();
    let centroids: Vec<Vec<f64>> = (0..CLASSES).map(|class| mean_of(&|label| label == class)).collect();
    let right = test.iter().filter(|(x, label)| {
        let distance = |class: usize| -> f64 {
            (0..width).map(|at| (x[at] - centroids[class][at]).powi(2) / variance[at]).sum()
        };
        (0..CLASSES).min_by(|&a, &b| distance(a).total_cmp(&distance(b))) == Some(*label)
    });
    100.0 * right.count() as f64 / TEST as f64
}

#[test]
fn averages_say_something_but_not_the_order() {
    let (train, test) = (draw(Split::Train, TRAIN), draw(Split::Test, TEST));
    let of_whole = accuracy(&train, &test, |[a, b]| a.iter().zip(b).map(|(a, b)| a + b).collect());
    let of_halves = accuracy(&train, &test, |halves| halves.concat());
    println!("averaged over the whole: {of_whole:.1} %, over halves: {of_halves:.1} %");
    // Above chance by more than 5 standard errors of 240 answers (1.8 each).
    assert!((8.3 + 9.0..42.0).contains(&of_whole), "{of_whole} %");
    assert!(of_halves < 42.0, "{of_halves} %");
}

//! The built-in data must not be solved by features that nobody learned: mean-pooled random features with a linear probe.
//!
//! The probe is ridge regression onto one-hot labels, in closed form; it never sees the test part. Accuracy by chance
//! is 10 %.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{Dataset, RawSample, Split, SyntheticConfig, SyntheticImages};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 10;
const TRAIN: usize = 2_000;
const TEST: usize = 1_000;

/// Features of each picture, and its label.
type Features = Vec<(Vec<f64>, usize)>;

fn features(split: Split, count: usize, of: impl Fn(&[u8]) -> Vec<f64>) -> Features {
    let set = SyntheticImages::new(SyntheticConfig::default(), split).unwrap();
    (0..count)
        .map(|index| {
            let RawSample::Image(picture) = set.load(index).unwrap() else { panic!("not a picture") };
            (of(picture.as_bytes()), set.label(index).unwrap() as usize)
        })
        .collect()
}

/// Test accuracy in percent of the linear probe on standardised features with a bias.
fn probe(of: impl Fn(&[u8]) -> Vec<f64> + Copy) -> f64 {
    let mut train = features(Split::Train, TRAIN, of);
    let mut test = features(Split::Test, TEST, of);
    standardise(&mut train, &mut test);
    let width = train[0].0.len();
    let mut gram = vec![vec![0.0; width]; width];
    let mut targets = vec![vec![0.0; CLASSES]; width];
    for (x, label) in &train {
        for i in 0..width {
            targets[i][*label] += x[i];
            for j in 0..width {
                gram[i][j] += x[i] * x[j];
            }
        }
    }
    for (i, row) in gram.iter_mut().enumerate() {
        row[i] += 1e-3 * TRAIN as f64;
    }
    let weights = solve(gram, targets);
    let correct = test.iter().filter(|(x, label)| {
        let score = |class: usize| x.iter().zip(&weights).map(|(x, row)| x * row[class]).sum::<f64>();
        (0..CLASSES).max_by(|&a, &b| score(a).total_cmp(&score(b))) == Some(*label)
    });
    100.0 * correct.count() as f64 / TEST as f64
}

/// To mean 0 and deviation 1 over the train part, with a constant feature added.
fn standardise(train: &mut Features, test: &mut Features) {
    let width = train[0].0.len();
    for i in 0..width {
        let mean = train.iter().map(|(x, _)| x[i]).sum::<f64>() / TRAIN as f64;
        let variance = train.iter().map(|(x, _)| (x[i] - mean).powi(2)).sum::<f64>() / TRAIN as f64;
        for (x, _) in train.iter_mut().chain(test.iter_mut()) {
            x[i] = (x[i] - mean) / (variance.sqrt() + 1e-9);
        }
    }
    for (x, _) in train.iter_mut().chain(test.iter_mut()) {
        x.push(1.0);
    }
}

/// Solves a symmetric positive definite system for several right-hand sides, by Gaussian elimination.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for pivot in 0..n {
        let (a_pivot, b_pivot) = (a[pivot].clone(), b[pivot].clone());
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = a[row][pivot] / a_pivot[pivot];
            for (value, pivot_value) in a[row].iter_mut().zip(&a_pivot) {
                *value -= factor * pivot_value;
            }
            for (value, pivot_value) in b[row].iter_mut().zip(&b_pivot) {
                *value -= factor * pivot_value;
            }
        }
    }
    b.iter()
        .zip(a.iter().enumerate())
        .map(|(b, (i, a))| b.iter().map(|value| value / a[i]).collect())
        .collect()
}

/// Mean and deviation of each channel.
fn colour_statistics(rgb: &[u8]) -> Vec<f64> {
    let mut sums = vec![0.0; 6];
    for pixel in rgb.chunks_exact(3) {
        for channel in 0..3 {
            let value = f64::from(pixel[channel]) / 255.0;
            sums[channel] += value / 1_024.0;
            sums[channel + 3] += value * value / 1_024.0;
        }
    }
    sums
}

/// 128 random filters of 4 x 4 pixels at every second position, rectified, then their mean: what a patch embedding
/// with random weights gives.
fn random_patch_features(rgb: &[u8]) -> Vec<f64> {
    const FILTERS: usize = 128;
    const SIDE: usize = 4;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let filters: Vec<Vec<f32>> = (0..FILTERS)
        .map(|_| (0..SIDE * SIDE * 3 + 1).map(|_| rng.random_range(-1.0..1.0_f32)).collect())
        .collect();
    let mut means = vec![0.0; FILTERS];
    for top in (0..=32 - SIDE).step_by(2) {
        for left in (0..=32 - SIDE).step_by(2) {
            let patch: Vec<f32> = (0..SIDE)
                .flat_map(|row| {
                    let at = 3 * ((top + row) * 32 + left);
                    rgb[at..at + 3 * SIDE].iter().map(|&value| f32::from(value) / 128.0 - 1.0)
                })
                .collect();
            for (mean, filter) in means.iter_mut().zip(&filters) {
                let sum: f32 = patch.iter().zip(filter).map(|(value, weight)| value * weight).sum();
                *mean += f64::from((sum + filter[SIDE * SIDE * 3]).max(0.0));
            }
        }
    }
    means
}

#[test]
fn colour_does_not_solve_it() {
    let accuracy = probe(colour_statistics);
    // Chance plus 5 standard errors of 1,000 answers: 10 + 5 * 0.95.
    assert!(accuracy < 14.8, "{accuracy} %");
}

#[test]
fn random_features_do_not_solve_it() {
    let accuracy = probe(random_patch_features);
    assert!(accuracy < 35.0, "{accuracy} %");
}

//! Digital silence that is none any more after resampling: what is left of it must not reach a network as it is.

use crate::signal::{signal, wav};
use d2v_data::{AudioOptions, AudioTransform, AugmentKey, RawSample, Split, open_audio};

/// The first window of data2vec's front end.
const WINDOW: usize = 10;

/// The largest and the smallest difference between the least and the greatest sample of a window.
fn extremes(samples: &[f32]) -> (f32, f32) {
    let spreads = samples.windows(WINDOW).map(|window| {
        let greatest = window.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        greatest - window.iter().copied().fold(f32::INFINITY, f32::min)
    });
    spreads.fold((0.0, f32::INFINITY), |(most, least), spread| (most.max(spread), least.min(spread)))
}

#[test]
fn resampled_silence_is_given_noise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.wav");
    for rate_hz in [8_000, 11_025, 22_050, 44_100, 48_000] {
        // A fifth of a second of sound, then one of zeros, and so on: blocks of the resampler hold some of each.
        let part = rate_hz as usize / 5;
        let samples: Vec<i16> =
            (0..12 * part).map(|t| if (t / part).is_multiple_of(2) { signal(t) } else { 0 }).collect();
        std::fs::write(&path, wav(rate_hz, 1, &samples)).unwrap();
        let options = AudioOptions { min_seconds: 0.0, ..AudioOptions::default() };
        let data = open_audio(&path, Split::All, &options).unwrap();
        let RawSample::Audio(sound) = data.load(0).unwrap() else { panic!("not sound") };
        let raw = sound.view().row(0).to_vec();
        let loudest = raw.iter().fold(0.0_f32, |loudest, value| loudest.max(value.abs()));
        let key = AugmentKey { seed: 0, epoch: 0, sample_id: 0 };
        let heard = AudioTransform::default().apply(sound, key).unwrap().row(0).to_vec();
        let mut most = 0.0_f32;
        for number in 0..6 {
            // The middle of a silence, further from sound than the filter reaches.
            let start = 3_200 * (2 * number + 1);
            let middle = start + 1_500..start + 1_700;
            most = most.max(extremes(&raw[middle.clone()]).0 / loudest);
            // Ten draws of deviation 0.01 lie that close together once in 10^12 windows.
            assert!(extremes(&heard[middle]).1 > 1e-3, "{rate_hz} Hz, silence {number}");
        }
        // Half of what counts as still, and at 8 kHz noise of rounding rather than zeros.
        assert!(most < 5e-7 && (rate_hz != 8_000 || most > 0.0), "{rate_hz} Hz: {most}");
        // Nowhere is less left than what counts as still, a millionth of the loudest, which is some deviations.
        assert!(extremes(&heard).1 > 1e-6, "{rate_hz} Hz: {}", extremes(&heard).1);
    }
}

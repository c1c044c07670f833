//! What is decoded of sound files is right, whole and in parts, honest and hostile.

use crate::signal::{mono, signal, wav, wav_of};
use d2v_data::{AudioError, AudioOptions, Dataset, Error, RawSample, Split, Waveform, open_audio};
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Everything, of any length, at a rate.
fn whole(sample_rate_hz: u32) -> AudioOptions {
    AudioOptions { sample_rate_hz, min_seconds: 0.0, ..AudioOptions::default() }
}

fn opened(name: &str, bytes: &[u8], options: &AudioOptions) -> Result<Box<dyn Dataset>, Error> {
    // The folder must outlive the data set.
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::write(folder.join(name), bytes).unwrap();
    open_audio(&folder.join(name), Split::All, options)
}

fn sound(data: &dyn Dataset, index: usize) -> Waveform {
    let RawSample::Audio(sound) = data.load(index).unwrap() else { panic!("not sound") };
    assert_eq!(sound.len(), data.length(index), "length is known beforehand");
    sound
}

fn samples(data: &dyn Dataset, index: usize) -> Vec<f32> {
    sound(data, index).view().iter().copied().collect()
}

fn fixture(name: &str, options: &AudioOptions) -> Box<dyn Dataset> {
    open_audio(&Path::new(FIXTURES).join(name), Split::All, options).unwrap()
}

fn expected(count: usize) -> Vec<f32> {
    (0..count).map(|t| f32::from(signal(t)) / 32_768.0).collect()
}

#[test]
fn lossless_formats_are_exact() {
    assert_eq!(samples(&*opened("a.wav", &mono(16_000, 5_000), &whole(16_000)).unwrap(), 0), expected(5_000));
    assert_eq!(samples(&*fixture("sound.flac", &whole(16_000)), 0), expected(64_000));
}

#[test]
fn the_other_pcm_kinds_are_read() {
    let values = [0.5_f32, -0.25, 0.125];
    let floats: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let of24: Vec<u8> =
        values.iter().flat_map(|value| ((value * 8_388_608.0) as i32).to_le_bytes()[..3].to_vec()).collect();
    let of8: Vec<u8> = values.iter().map(|value| (value * 128.0 + 128.0) as u8).collect();
    for (tag, bits, data) in [(3, 32, floats), (1, 24, of24), (1, 8, of8)] {
        let got =
            samples(&*opened("a.wav", &wav_of(tag, bits, 16_000, 1, &data), &whole(16_000)).unwrap(), 0);
        assert_eq!(got, values, "{bits} bits");
    }
}

/// Compression loses something, but neither time nor loudness: at least 15 dB of signal over difference.
#[test]
fn lossy_formats_are_close_and_in_place() {
    for name in ["sound.mp3", "sound.ogg"] {
        let got = samples(&*fixture(name, &whole(16_000)), 0);
        let expected = expected(64_000);
        assert_eq!(got.len(), expected.len(), "{name}");
        let power =
            |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
        let noise = power(&mut got.iter().zip(&expected).map(|(a, b)| a - b));
        let ratio_db = 10.0 * (power(&mut expected.iter().copied()) / noise).log10();
        assert!(ratio_db > 15.0, "{name}: {ratio_db:.1} dB");
    }
}

/// Parts, each decoded by seeking, are the same parts of the whole within `tolerance`.
fn check_parts(path: &Path, sample_rate_hz: u32, tolerance: f32) {
    let all = open_audio(path, Split::All, &whole(sample_rate_hz)).unwrap();
    let all = samples(&*all, 0);
    let options = AudioOptions { max_seconds: 0.7, ..whole(sample_rate_hz) };
    let parts = open_audio(path, Split::All, &options).unwrap();
    assert!(parts.len() > 4, "{} parts", parts.len());
    let mut at = 0;
    for index in 0..parts.len() {
        assert!(parts.name(index).ends_with(&format!("#{index}")), "{}", parts.name(index));
        for value in samples(&*parts, index) {
            assert!(
                (value - all[at]).abs() <= tolerance,
                "{} sample {at}: {value}, {}",
                path.display(),
                all[at]
            );
            at += 1;
        }
    }
    assert_eq!(at, all.len());
}

#[test]
fn parts_equal_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    std::fs::write(&path, mono(16_000, 64_000)).unwrap();
    check_parts(&path, 16_000, 0.0);
    check_parts(&Path::new(FIXTURES).join("sound.flac"), 16_000, 0.0);
    // Decoders of lossy formats begin a few frames earlier and arrive at the same numbers but for rounding.
    check_parts(&Path::new(FIXTURES).join("sound.ogg"), 16_000, 1e-5);
    check_parts(&Path::new(FIXTURES).join("sound.mp3"), 16_000, 1e-5);
}

#[test]
fn resampled_parts_equal_the_resampled_whole() {
    check_parts(&Path::new(FIXTURES).join("sound.flac"), 8_000, 1e-5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    std::fs::write(&path, mono(44_100, 180_000)).unwrap();
    check_parts(&path, 16_000, 1e-5);
    check_parts(&path, 48_000, 1e-5);
}

#[test]
fn channels_are_mixed_or_must_be_right() {
    let stereo = wav(16_000, 2, &[100, 300, -50, 50, 7, 7]);
    let mixed = samples(&*opened("a.wav", &stereo, &whole(16_000)).unwrap(), 0);
    assert_eq!(mixed, [200.0, 0.0, 7.0].map(|value| value / 32_768.0));
    let two = AudioOptions { channels: 2, ..whole(16_000) };
    let kept = sound(&*opened("a.wav", &stereo, &two).unwrap(), 0);
    assert_eq!((kept.channels(), kept.view()[[1, 0]]), (2, 300.0 / 32_768.0));
    let message = opened("a.wav", &mono(16_000, 10), &two).err().unwrap().to_string();
    assert!(message.contains("1 channels, not `channels` = 2"), "{message}");
}

/// A file that cannot be used is named with a reason when it is opened.
fn refused(bytes: &[u8], reason: &str) {
    match opened("a.wav", bytes, &whole(16_000)).err() {
        Some(Error::Audio(AudioError::NoSounds { ignored: 1, first: Some(first), .. })) => {
            assert!(first.contains(reason) && first.contains("a.wav"), "{first}");
        }
        other => panic!("{other:?} instead of {reason}"),
    }
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let good = mono(16_000, 1_000);
    refused(b"", "not WAV, FLAC, MP3 or Ogg");
    refused(b"#!/bin/sh\nexit 1\n", "not WAV, FLAC, MP3 or Ogg");
    refused(include_bytes!("../fixtures/opus.ogg"), "is Opus");
    refused(&good[..good.len() - 700], "truncated");
    refused(&good[..30], "a.wav");
    refused(&mono(16_000, 0), "no sample");
    refused(&mono(0, 10), "a.wav");
    refused(&mono(4_000_000_000, 10), "a rate that is 0 or above 768,000 Hz");
    refused(&mono(20, 10), "cannot be brought to 16000 Hz");
    refused(&wav_of(1, 16, 16_000, 0, &[0; 100]), "a.wav");
    // 65,535 channels, each of which would cost a decoder memory.
    refused(&wav_of(1, 8, 16_000, 65_535, &[128; 65_535]), "a.wav");
    // 4 GiB declared, 2 kB there.
    let mut huge = good.clone();
    huge[40..44].copy_from_slice(&0xFFFF_FF00_u32.to_le_bytes());
    refused(&huge, "a.wav");
    // A FLAC of 2^36 - 1 samples in 3 kB: bits 108 to 143 of the stream information.
    let mut flac = include_bytes!("../fixtures/short.flac").to_vec();
    flac[21] |= 0x0F;
    flac[22..26].fill(0xFF);
    refused(&flac, "more samples than its bytes can hold");
}

#[test]
fn limits_are_kept() {
    let message = |limits| {
        let options = AudioOptions { limits, ..whole(16_000) };
        opened("a.wav", &mono(16_000, 32_000), &options).err().unwrap().to_string()
    };
    let limits = AudioOptions::default().limits;
    let got = message(d2v_data::AudioLimits { max_file_seconds: 1.9, ..limits });
    assert!(got.contains("max_file_seconds"), "{got}");
    let got = message(d2v_data::AudioLimits { max_file_bytes: 1_000, ..limits });
    assert!(got.contains("max_file_bytes"), "{got}");
}

#[test]
fn what_is_seen_only_when_decoding_is_an_error_then() {
    // Samples that are no numbers.
    let data: Vec<u8> = [0.5_f32, f32::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
    let set = opened("a.wav", &wav_of(3, 32, 16_000, 1, &data), &whole(16_000)).unwrap();
    assert!(matches!(set.load(0), Err(Error::WaveformValue { at: 1, .. })));
    // A FLAC or Ogg file without its second half.
    for name in ["sound.flac", "sound.mp3"] {
        let bytes = std::fs::read(Path::new(FIXTURES).join(name)).unwrap();
        let set = opened(name, &bytes[..bytes.len() / 2], &whole(16_000)).unwrap();
        let message = set.load(0).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    let ogg = include_bytes!("../fixtures/sound.ogg");
    refused(&ogg[..ogg.len() / 2], "a.wav");
}

#[test]
fn sound_written_to_a_pipe_has_its_samples_counted() {
    let mut piped = mono(16_000, 1_000);
    piped[4..8].fill(0xFF);
    piped[40..44].fill(0xFF);
    assert_eq!(samples(&*opened("a.wav", &piped, &whole(16_000)).unwrap(), 0), expected(1_000));
    // A FLAC whose stream information has no number of samples.
    let mut flac = include_bytes!("../fixtures/short.flac").to_vec();
    flac[21] &= 0xF0;
    flac[22..26].fill(0);
    assert_eq!(samples(&*opened("a.flac", &flac, &whole(16_000)).unwrap(), 0), expected(3_200));
}

#[test]
fn tags_before_the_sound_are_stepped_over() {
    let mut tagged = b"ID3\x04\x00\x00\x00\x00\x01\x00".to_vec();
    tagged.extend([7; 128]);
    tagged.extend(mono(16_000, 100));
    assert_eq!(samples(&*opened("a.wav", &tagged, &whole(16_000)).unwrap(), 0), expected(100));
}

/// Ogg allows one stream after another, which may differ in rate and channels: not half of the sound, but an error.
#[test]
fn chained_streams_are_refused() {
    let chained =
        [&include_bytes!("../fixtures/sound.ogg")[..], include_bytes!("../fixtures/short.ogg")].concat();
    let outcome =
        opened("a.ogg", &chained, &whole(16_000)).and_then(|data| data.load(0).map(|_| data.length(0)));
    assert!(outcome.is_err(), "{outcome:?} samples");
}

//! What is hidden of speech and text, shown on the samples themselves: in the terminal, as a picture, in the report.

use crate::tiny_run::{TinyRun, d2v, read, stderr};
use crate::wav::wav;
use d2v_train::waveform_picture::{HIDDEN_GROUND, MARGIN_PX, VISIBLE_GROUND};
use std::path::Path;
use tempfile::TempDir;

const SPEECH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/small-speech.toml");
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/text-tiny.toml");

/// What `d2v masks` prints, which is no terminal's.
#[track_caller]
fn masks(arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let output = d2v().arg("masks").args(arguments).env("D2V_CACHE", cache.path()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.contains('\u{1b}'), "control codes without a terminal: {printed}");
    printed
}

/// The lines between each sample's head and the next empty line.
fn samples(printed: &str) -> Vec<Vec<&str>> {
    let parts = printed.split("\n\n").filter(|part| part.starts_with("sample "));
    parts.map(|part| part.lines().skip(1).collect()).collect()
}

/// The masks of sounds: every second line, joined.
fn sound_masks(printed: &str) -> Vec<Vec<bool>> {
    let hidden = |lines: &Vec<&str>| {
        let drawn: String = lines.iter().skip(1).step_by(2).copied().collect();
        assert!(drawn.chars().all(|c| "#.".contains(c)), "{lines:?}");
        let loudness: String = lines.iter().step_by(2).copied().collect();
        assert!(
            loudness.len() == drawn.len() && loudness.chars().all(|c| ('0'..='7').contains(&c)),
            "{lines:?}"
        );
        drawn.chars().map(|c| c == '#').collect()
    };
    samples(printed).iter().map(hidden).collect()
}

/// Checks that the picture has a waveform for each mask, shaded where and only where it hides.
#[track_caller]
fn check_shading(png: &Path, masks: &[Vec<bool>], frame_px: u32) {
    let sheet = image::open(png).unwrap().into_rgb8();
    let longest = masks.iter().map(Vec::len).max().unwrap() as u32;
    assert_eq!(sheet.width(), longest * frame_px + 2 * MARGIN_PX);
    // Where grounds begin below paper: the topmost row of a waveform, which it does not reach itself.
    let is_ground = |y: u32| [HIDDEN_GROUND, VISIBLE_GROUND].contains(sheet.get_pixel(MARGIN_PX, y));
    let tops: Vec<u32> = (1..sheet.height()).filter(|&y| is_ground(y) && !is_ground(y - 1)).collect();
    // The waveform itself parts the ground of each in two: the lower half begins a second time.
    let tops: Vec<u32> = tops.into_iter().step_by(2).collect();
    assert_eq!(tops.len(), masks.len(), "{tops:?}");
    for (top, mask) in tops.into_iter().zip(masks) {
        for x in 0..mask.len() as u32 * frame_px {
            let ground = if mask[(x / frame_px) as usize] { HIDDEN_GROUND } else { VISIBLE_GROUND };
            assert_eq!(*sheet.get_pixel(MARGIN_PX + x, top), ground, "column {x} below {top}");
        }
    }
}

/// A folder with recordings of 16 bits at 8 kHz, each of so many samples.
fn recordings(lengths: &[u32]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, &samples) in lengths.iter().enumerate() {
        let tone = |at: u32| (f64::from(at) * 0.3 * f64::from(index as u32 + 1)).sin() * 9_000.0;
        let sound: Vec<i16> = (0..samples).map(|at| tone(at) as i16).collect();
        std::fs::write(folder.path().join(format!("tone-{index}.wav")), wav(8_000, &sound)).unwrap();
    }
    folder
}

#[test]
fn hidden_spans_are_shaded_over_waveforms() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("out.png");
    let path = png.to_str().unwrap();
    let arguments = ["--config", SPEECH, "--rows", "3", "--png", path];
    let printed = masks(&arguments);
    let hidden = sound_masks(&printed);
    assert_eq!(hidden.len(), 3);
    // 1 to 1.2 seconds at 50 frames a second.
    assert!(hidden.iter().all(|mask| (48..60).contains(&mask.len())), "{printed}");
    assert!(hidden.iter().all(|mask| mask.iter().any(|&h| h) && mask.iter().any(|&h| !h)), "{printed}");
    check_shading(&png, &hidden, 12);
    let first = read(&png);
    assert_eq!(masks(&arguments), printed, "a function of seed, epoch and sample");
    assert_eq!(read(&png), first);
    let other_seed = sound_masks(&masks(&[&arguments[..], &["--seed", "1"]].concat()));
    let other_epoch = sound_masks(&masks(&[&arguments[..], &["--epoch", "1"]].concat()));
    assert!(other_seed != hidden && other_epoch != hidden && other_seed != other_epoch);
}

#[test]
fn recordings_are_shown_at_their_own_lengths() {
    let data = recordings(&[24_000, 8_000]);
    let png = data.path().join("out.png");
    let (data, path) = (data.path().to_str().unwrap(), png.to_str().unwrap());
    let shortest = ["--set", "data.audio.min_seconds=1"];
    let arguments = ["--config", SPEECH, "--data", data, "--rows", "2", "--png", path];
    let printed = masks(&[&arguments[..], &shortest].concat());
    let hidden = sound_masks(&printed);
    let mut lengths: Vec<usize> = hidden.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    // Windows of 256 every 80 samples, in pairs: floor((floor((n - 256) / 80) + 1) / 2).
    assert_eq!(lengths, [48, 148], "{printed}");
    assert!(printed.contains("tone-0.wav") && printed.contains("tone-1.wav"), "{printed}");
    check_shading(&png, &hidden, 7);
}

#[test]
fn masks_without_samples_are_still_drawn() {
    let printed = masks(&["--config", SPEECH, "--len", "70", "--rows", "2"]);
    assert!(samples(&printed).iter().all(|lines| lines.len() == 1 && lines[0].len() == 70), "{printed}");
}

/// Words of a line of text, without the marks of `d2v masks`.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn hidden_words_are_filled_and_the_others_stand_as_they_are() {
    let with = |setting: &str| masks(&["--config", TEXT, "--rows", "4", "--set", setting]);
    let (whole, masked) = (with("mask.mask_prob=0"), with("mask.mask_prob=0.4"));
    let (whole, hidden) = (samples(&whole), samples(&masked));
    assert_eq!((whole.len(), hidden.len()), (4, 4), "{masked}");
    let mut filled = 0;
    for (whole, hidden) in whole.iter().zip(&hidden) {
        let ([whole], [hidden]) = (&whole[..], &hidden[..]) else { panic!("a line per text: {masked}") };
        let (own, shown) = (words(whole), words(hidden));
        assert_eq!(own.len(), shown.len(), "{masked}");
        for (own, shown) in own.into_iter().zip(shown) {
            let is_filled = shown == "#".repeat(own.chars().count());
            assert!(shown == own || is_filled, "{own} became {shown}");
            assert!(!(is_filled && ["<s>", "</s>"].contains(&own)), "{hidden}");
            filled += usize::from(is_filled);
        }
    }
    let reported = masked.lines().filter_map(|line| {
        let (_, numbers) = line.strip_prefix("sample ")?.split_once(": ")?;
        numbers.split(' ').next()?.parse::<usize>().ok()
    });
    assert_eq!(filled, reported.sum::<usize>(), "{masked}");
    assert!(masked.contains("### hidden") && !masked.contains("{word}"), "{masked}");
    assert_eq!(with("mask.mask_prob=0.4"), masked, "a function of seed, epoch and sample");
}

#[test]
fn replaced_and_kept_words_are_told_from_hidden_ones() {
    let folder = tempfile::tempdir().unwrap();
    let line = "the quick brown fox jumps over the lazy dog while seven grey geese fly south";
    std::fs::write(folder.path().join("geese.txt"), format!("{line}\n").repeat(8)).unwrap();
    let data = folder.path().to_str().unwrap();
    let settings = ["mask.mask_prob=0.9", "mask.leave_prob=0.4", "mask.random_prob=0.4"];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let printed = masks(&[&["--config", TEXT, "--data", data, "--rows", "1"], &settings[..]].concat());
    assert!(printed.contains("geese.txt"), "{printed}");
    let samples = samples(&printed);
    let shown: Vec<&str> =
        words(samples[0][0]).into_iter().filter(|word| !["<s>", "</s>"].contains(word)).collect();
    let own = line.split(' ').cycle();
    let mut met = std::collections::BTreeSet::new();
    for (own, shown) in own.zip(shown) {
        let inside = |open, close| shown.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if inside('{', '}').is_some_and(|other| other != own && !other.is_empty()) {
            met.insert("replaced");
        } else if inside('[', ']') == Some(own) {
            met.insert("kept");
        } else if shown == "#".repeat(own.len()) {
            met.insert("hidden");
        } else {
            assert_eq!(shown, own, "{printed}");
        }
    }
    assert_eq!(Vec::from_iter(met), ["hidden", "kept", "replaced"], "{printed}");
}

/// The report of a run of a few updates.
#[track_caller]
fn report(recipe: &str, settings: &[&str]) -> String {
    let run = TinyRun::of(recipe);
    run.run(&[&["--steps", "2"], settings].concat(), 0);
    String::from_utf8(read(&run.out().join("report.html"))).unwrap()
}

#[test]
fn reports_show_sounds_and_text_with_their_masks() {
    let speech = report(SPEECH, &[]);
    for part in ["Sounds and their masks", "data:image/png;base64,", "% of the frames are hidden"] {
        assert!(speech.contains(part), "{part}");
    }
    let words = ["--set", "mask.random_prob=0.3", "--set", "mask.leave_prob=0.3"];
    let text = report(TEXT, &[&words[..], &["--set", "train.probe_at_end=false"]].concat());
    let section =
        text.split("Text and its masks").nth(1).expect("a section").split("</section>").next().unwrap();
    for mark in
        ["<mark class=\"hidden\">", "<mark class=\"replaced\"><s>", "<mark class=\"kept\">", "&lt;/s&gt;"]
    {
        assert!(section.contains(mark), "{mark}: {section}");
    }
    assert_eq!(section.matches("<p class=\"text\">").count(), 6);
}

//! WAV files: opened, and every part decoded.
#![no_main]

use d2v_fuzz::{let_panics_be_caught, load_sounds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: let_panics_be_caught(), |content: &[u8]| load_sounds("a.wav", content));

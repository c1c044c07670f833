//! What recordings hold: `cargo run -p d2v-data --example list_sounds -- PATH [OPTIONS.toml]`; without a path, the
//! built-in sounds. The options are those of `AudioOptions`. Everything is decoded once, on one thread.

#![expect(clippy::print_stdout, reason = "this is what the example is for")]

use d2v_data::{AudioOptions, Dataset, Split, SyntheticSounds, SyntheticSoundsConfig, open_audio};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = AudioOptions::default();
    if let Some(path) = arguments.get(1) {
        options = toml::from_str(&std::fs::read_to_string(path)?)?;
    }
    for split in [Split::Train, Split::Test] {
        let start = Instant::now();
        let (data, rate_hz): (Box<dyn Dataset>, u32) = match arguments.first() {
            Some(path) => match open_audio(Path::new(path), split, &options) {
                Ok(data) => (data, options.sample_rate_hz),
                Err(error) => {
                    println!("{split}: {error}");
                    continue;
                }
            },
            None => {
                let config = SyntheticSoundsConfig {
                    train_sounds: 400,
                    test_sounds: 100,
                    ..SyntheticSoundsConfig::default()
                };
                (Box::new(SyntheticSounds::new(config, split)?), config.sample_rate_hz)
            }
        };
        println!("{split}: {} samples, opened in {:.2?}", data.len(), start.elapsed());
        print(&*data, rate_hz);
    }
    Ok(())
}

fn print(data: &dyn Dataset, rate_hz: u32) {
    let seconds = |index| data.length(index) as f64 / f64::from(rate_hz);
    let total: f64 = (0..data.len()).map(seconds).sum();
    let shortest = (0..data.len()).map(seconds).fold(f64::INFINITY, f64::min);
    let longest = (0..data.len()).map(seconds).fold(0.0, f64::max);
    println!("  {total:.1} s in all, {shortest:.3} to {longest:.3} s each at {rate_hz} Hz");
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for index in 0..data.len() {
        if let (Some(label), Some(group)) = (data.label(index), data.group(index)) {
            *counts.entry((label, group)).or_default() += 1;
        }
    }
    println!("  classes {:?}", data.classes());
    println!("  groups {:?}, {} pairs of class and group occur", data.groups(), counts.len());
    for left_out in data.ignored().listed().iter().take(5) {
        println!("  left out: {}", left_out.reason);
    }
    println!("  {} left out", data.ignored().total());
    let start = Instant::now();
    let unreadable = (0..data.len()).filter(|&index| data.load(index).is_err()).count();
    let speed = total / start.elapsed().as_secs_f64();
    println!("  {unreadable} unreadable; decoded at {speed:.0} times real time");
}

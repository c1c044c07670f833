//! From one rate to another, whole or in parts that fit together.
//!
//! The ratio of two rates in lowest terms, `unit_in : unit_out`, is the grid on which a part of a sound begins at a
//! whole sample before and after. Parts are resampled with the sound around them that the filter reaches, so that they
//! equal the same parts of the resampled whole up to rounding.

use super::error::AudioError;
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};
use std::ops::Range;

/// Rates further apart than this are taken for a damaged header.
const MAX_RATIO: u32 = 256;
/// The shorter side of an FFT block: with this length the pass band reaches above 97 % of the lower rate's half.
const MIN_BLOCK: u64 = 1_024;

/// A change of rate; nothing is done where both are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateChange {
    from_hz: u32,
    to_hz: u32,
}

/// What to decode for a part of the resampled sound, and where in its outcome the part begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Samples before resampling.
    pub(super) needed: Range<u64>,
    /// Samples after resampling to leave out before the part.
    skip: usize,
    /// The length of the part.
    length: usize,
}

impl RateChange {
    /// # Errors
    /// [`AudioError::Resample`] if the rates are too far apart.
    pub(super) fn new(name: &str, from_hz: u32, to_hz: u32) -> Result<Self, AudioError> {
        let (low, high) = (from_hz.min(to_hz), from_hz.max(to_hz));
        if low == 0 || high / low > MAX_RATIO {
            let problem = format!("one is more than {MAX_RATIO} times the other");
            return Err(AudioError::Resample { name: name.into(), from_hz, to_hz, problem });
        }
        Ok(Self { from_hz, to_hz })
    }

    /// Samples before and after in which both rates come out even.
    fn units(self) -> (u64, u64) {
        let divisor = greatest_common_divisor(self.from_hz, self.to_hz);
        (u64::from(self.from_hz / divisor), u64::from(self.to_hz / divisor))
    }

    /// Parts that begin at multiples of so many samples after resampling begin at a whole sample before it.
    pub(super) fn grid(self) -> u64 {
        self.units().1
    }

    /// How many samples `samples` of them become.
    pub(super) fn output_len(self, samples: u64) -> u64 {
        let (unit_in, unit_out) = self.units();
        let product = u128::from(samples) * u128::from(unit_out) / u128::from(unit_in);
        u64::try_from(product).unwrap_or(u64::MAX)
    }

    /// Samples before resampling in one FFT block, an even multiple of the unit: also the length of the filter, whose
    /// middle is then a whole sample before and after.
    fn block(self) -> u64 {
        let (unit_in, unit_out) = self.units();
        unit_in * MIN_BLOCK.div_ceil(unit_in.min(unit_out)).next_multiple_of(2)
    }

    /// What the samples `output` of the resampled sound need of one that has `samples` before.
    pub(super) fn part(self, output: Range<u64>, samples: u64) -> Part {
        let length = usize::try_from(output.end - output.start).expect("a part fits memory");
        if self.from_hz == self.to_hz {
            return Part { needed: output, skip: 0, length };
        }
        let (unit_in, unit_out) = self.units();
        let before = |at: u64| u128::from(at) * u128::from(unit_in) / u128::from(unit_out);
        let first = u64::try_from(before(output.start)).unwrap_or(u64::MAX);
        let last = u64::try_from(before(output.end) + 1).unwrap_or(u64::MAX);
        let start = first.saturating_sub(self.block());
        let end = last.saturating_add(self.block()).min(samples);
        let skip = usize::try_from(self.output_len(first - start)).expect("as long as a block");
        Part { needed: start..end, skip, length }
    }

    /// Resamples what a part needs, each channel alike, and returns exactly the part.
    ///
    /// # Errors
    /// [`AudioError::Resample`] if the resampler refuses.
    pub(super) fn apply(
        self,
        name: &str,
        part: &Part,
        mut channels: Vec<Vec<f32>>,
    ) -> Result<Vec<Vec<f32>>, AudioError> {
        if self.from_hz == self.to_hz {
            return Ok(channels);
        }
        let refused = |problem: String| AudioError::Resample {
            name: name.into(),
            from_hz: self.from_hz,
            to_hz: self.to_hz,
            problem,
        };
        let (from, to) = (self.from_hz as usize, self.to_hz as usize);
        let block = usize::try_from(self.block()).expect("at most 256 MIN_BLOCK, or a rate");
        let mut resampler = Fft::<f32>::new_custom(
            from,
            to,
            block,
            1,
            channels.len(),
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| refused(error.to_string()))?;
        // Silence behind the end, so that rounding never leaves the outcome a sample short.
        for channel in &mut channels {
            channel.resize(channel.len() + block, 0.0);
        }
        let length = channels.first().map_or(0, Vec::len);
        let input = SequentialSliceOfVecs::new(&channels, channels.len(), length)
            .map_err(|error| refused(error.to_string()))?;
        let output =
            resampler.process_all(&input, length, None).map_err(|error| refused(error.to_string()))?;
        let count = channels.len();
        let interleaved = output.take_data();
        let rows = (0..count).map(|channel| {
            interleaved
                .iter()
                .skip(part.skip * count + channel)
                .step_by(count)
                .take(part.length)
                .copied()
                .collect()
        });
        Ok(rows.collect())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn tone(hz: f64, rate_hz: u32, samples: u64) -> Vec<f32> {
        (0..samples).map(|at| (TAU * hz * at as f64 / f64::from(rate_hz)).sin() as f32).collect()
    }

    fn resampled(change: RateChange, whole: &[f32], output: Range<u64>) -> Vec<f32> {
        let part = change.part(output, whole.len() as u64);
        let needed = whole[part.needed.start as usize..part.needed.end as usize].to_vec();
        change.apply("test", &part, vec![needed]).unwrap().remove(0)
    }

    fn check(from_hz: u32, to_hz: u32) {
        let change = RateChange::new("test", from_hz, to_hz).unwrap();
        let input = tone(1_000.0, from_hz, u64::from(from_hz));
        let output = resampled(change, &input, 0..change.output_len(u64::from(from_hz)));
        let expected = tone(1_000.0, to_hz, u64::from(to_hz));
        assert_eq!(output.len(), expected.len());
        let inner = output.len() / 8..output.len() * 7 / 8;
        for at in inner {
            let (got, expected) = (output[at], expected[at]);
            assert!((got - expected).abs() < 1e-4, "{from_hz} to {to_hz} Hz, sample {at}: {got} {expected}");
        }
    }

    #[test]
    fn a_tone_keeps_pitch_phase_and_loudness() {
        for (from, to) in
            [(44_100, 16_000), (8_000, 16_000), (48_000, 16_000), (16_000, 8_000), (22_050, 16_000)]
        {
            check(from, to);
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_taken_away() {
        let change = RateChange::new("test", 44_100, 16_000).unwrap();
        let output = resampled(change, &tone(9_000.0, 44_100, 44_100), 0..16_000);
        let loudest = output[1_000..15_000].iter().fold(0.0_f32, |loudest, value| loudest.max(value.abs()));
        assert!(loudest < 1e-3, "{loudest}");
    }

    #[test]
    fn rates_too_far_apart_are_refused() {
        assert!(RateChange::new("test", 1, 16_000).is_err());
        assert!(RateChange::new("test", 768_000, 16_000).is_ok());
        assert!(RateChange::new("test", 0, 16_000).is_err());
    }

    /// 24 cases, or as many as the environment asks for.
    fn cases() -> ProptestConfig {
        match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default(),
            None => ProptestConfig::with_cases(24),
        }
    }

    proptest! {
        #![proptest_config(cases())]
        /// Parts on the grid equal the same parts of the whole within 1e-4 of a signal within [-1, 1].
        #[test]
        fn parts_fit_together(pair in 0_usize..4, first in 1_u64..20, seed: u32) {
            let (from, to) = [(44_100, 16_000), (8_000, 16_000), (48_000, 16_000), (11_025, 8_000)][pair];
            let change = RateChange::new("test", from, to).unwrap();
            let whole: Vec<f32> = (0..30_000_u32)
                .map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / (1 << 23) as f32 - 1.0)
                .collect();
            let total = change.output_len(30_000);
            let all = resampled(change, &whole, 0..total);
            let start = (first * change.grid()).min(total / change.grid() / 2 * change.grid());
            let end = (start + 3_000).min(total);
            let part = resampled(change, &whole, start..end);
            prop_assert_eq!(part.len() as u64, end - start);
            for (at, value) in part.iter().enumerate() {
                let expected = all[start as usize + at];
                prop_assert!((value - expected).abs() < 1e-4, "{} {} {}", at, value, expected);
            }
        }
    }
}

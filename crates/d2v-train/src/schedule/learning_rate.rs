//! The learning rate as a function of the number of finished updates: constant, cosine, tri-stage, polynomial.
//!
//! All four start with a linear warm-up. With `u` updates finished, of `W` warm-up and `U` in all, `p` the peak, `s` the start and
//! `f` the final rate, update number `u + 1` uses:
//!
//! | kind | `u < W` | then |
//! |---|---|---|
//! | constant | `s + (p - s) u/W` | `p` |
//! | cosine | the same | `f + (p - f)/2 (1 + cos(pi (u - W)/(U - W)))` |
//! | tri-stage | the same | `p` for the hold; then `p (f/p)^x` (code) or `p + (f - p) x` (paper), `x` from 0 to 1 at `U` |
//! | polynomial | the same | `f + (p - f) (1 - (u - W)/(U - W))^power` |
//!
//! From `u = U` on the rate is the final one (`p` for a constant one).
//!
//! Sources: fairseq's schedules as used by the published configurations, and the per-iteration cosine of the official vision code.
//! What they do that looks odd, and what is done here:
//!
//! - *First update at rate 0.* With `s = 0`, the default of the reference, the first update moves nothing but the optimizer's
//!   moments. Kept, since published runs did it; a `start_lr` above 0 avoids it.
//! - *Jump at the end.* fairseq's cosine restarts at a tenth of the peak exactly at `u = U`. No update ever uses that value; not
//!   copied: the rate stays at its final value.
//! - *Peak one update early.* The official vision code spaces its warm-up so that the last warm-up update already has the peak, and
//!   the one after it has it again: [`PeakAt::LastWarmupStep`].

use std::f64::consts::PI;

use super::{DecayShape, PeakAt};

/// A schedule whose every length is in steps: a pure function of the number of finished updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    pub(super) peak: f64,
    pub(super) start: f64,
    pub(super) peak_at: PeakAt,
    pub(super) warmup_steps: u64,
    /// At least `warmup_steps` and, for tri-stage, the hold.
    pub(super) total_steps: u64,
    pub(super) after_warmup: AfterWarmup,
}

/// What the rate does once the warm-up is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AfterWarmup {
    Constant,
    Cosine { final_lr: f64 },
    TriStage { hold_steps: u64, decay: DecayShape, final_scale: f64 },
    Polynomial { final_lr: f64, power: f64 },
}

impl LearningRate {
    /// The rate that the next update uses when `update` updates are finished (0 before the first).
    pub fn at(&self, update: u64) -> f64 {
        let Self { peak, start, warmup_steps, total_steps, .. } = *self;
        if update < warmup_steps {
            return match self.peak_at {
                PeakAt::AfterWarmup => start + (peak - start) * (update as f64 / warmup_steps as f64),
                // A warm-up of one update has no room to rise in.
                PeakAt::LastWarmupStep if warmup_steps == 1 => start,
                PeakAt::LastWarmupStep => {
                    start + (peak - start) * (update as f64 / (warmup_steps - 1) as f64)
                }
            };
        }
        // Part of the way from update `from` to the end of the run; 1 if there is no way to go.
        let progress_since = |from: u64| {
            if update >= total_steps { 1.0 } else { (update - from) as f64 / (total_steps - from) as f64 }
        };
        match self.after_warmup {
            AfterWarmup::Constant => peak,
            AfterWarmup::Cosine { final_lr } => {
                final_lr + 0.5 * (peak - final_lr) * (1.0 + (PI * progress_since(warmup_steps)).cos())
            }
            AfterWarmup::TriStage { hold_steps, decay, final_scale } => {
                let hold_end = warmup_steps + hold_steps;
                if update < hold_end {
                    return peak;
                }
                let progress = progress_since(hold_end);
                match decay {
                    DecayShape::Exponential => peak * final_scale.powf(progress),
                    DecayShape::Linear => peak * (1.0 + (final_scale - 1.0) * progress),
                }
            }
            AfterWarmup::Polynomial { final_lr, power } => {
                final_lr + (peak - final_lr) * (1.0 - progress_since(warmup_steps)).powf(power)
            }
        }
    }

    /// Length of the warm-up, in steps.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{LearningRateConfig, Length, Pace, ScheduleError};
    use super::*;

    fn pace() -> Pace {
        Pace::new(1, 1).unwrap()
    }

    fn resolve(toml: &str, total_steps: u64) -> Result<LearningRate, ScheduleError> {
        toml::from_str::<LearningRateConfig>(toml).unwrap().resolve(total_steps, pace())
    }

    #[track_caller]
    fn check(toml: &str, total_steps: u64, expected: &[(u64, f64)]) {
        let learning_rate = resolve(toml, total_steps).unwrap();
        for &(update, expected) in expected {
            let got = learning_rate.at(update);
            assert!((got - expected).abs() < 1e-15, "at({update}) = {got}, expected {expected}");
        }
    }

    #[track_caller]
    fn check_refused(toml: &str, total_steps: u64, part: &str) {
        let error = resolve(toml, total_steps).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn constant_warms_up_and_stays() {
        check("kind='constant'\npeak_lr=0.5", 10, &[(0, 0.5), (10, 0.5), (u64::MAX, 0.5)]);
        let warmed = "kind='constant'\npeak_lr=0.5\nstart_lr=0.1\nwarmup={steps=4}";
        check(warmed, 10, &[(0, 0.1), (1, 0.2), (4, 0.5), (9, 0.5)]);
    }

    #[test]
    fn tri_stage_decays_by_factor_or_by_amount() {
        let text = "kind='tri-stage'\npeak_lr=1\nwarmup={fraction=0.1}\nhold={fraction=0.5}\n";
        let start = [(0, 0.01), (5, 0.505), (10, 1.0), (59, 1.0), (60, 1.0)];
        for (decay, halfway) in [("", 0.1), ("decay='exponential'", 0.1), ("decay='linear'", 0.505)] {
            let text = format!("{text}{decay}");
            check(&text, 100, &start);
            check(&text, 100, &[(80, halfway), (100, 0.01), (1000, 0.01)]);
        }
    }

    #[test]
    fn polynomial_has_a_power() {
        let text = "kind='polynomial'\npeak_lr=1\nfinal_lr=0.2\nwarmup={steps=10}\npower=2";
        check(text, 30, &[(10, 1.0), (20, 0.4), (30, 0.2), (31, 0.2)]);
    }

    #[test]
    fn warm_up_may_fill_the_run_or_be_absent() {
        let cosine = |warmup| format!("kind='cosine'\npeak_lr=1\nfinal_lr=0.5\nwarmup={{steps={warmup}}}");
        check(&cosine(4), 4, &[(3, 0.75), (4, 0.5)]);
        check(&cosine(0), 4, &[(0, 1.0), (2, 0.75), (4, 0.5)]);
        for warmup in [1, 2] {
            let text = format!("{}\npeak_at='last-warmup-step'", cosine(warmup));
            check(&text, 4, &[(0, 0.0), (warmup, 1.0)]);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let cosine = "kind='cosine'\nwarmup={steps=5}\npeak_lr=";
        check_refused(&format!("{cosine}1"), 4, "warmup takes 5 steps, but the run has only 4");
        check_refused(&format!("{cosine}1"), 0, "0 steps");
        check_refused(&format!("{cosine}-1"), 9, "peak_lr = -1");
        check_refused(&format!("{cosine}nan"), 9, "peak_lr = NaN");
        check_refused(&format!("{cosine}inf"), 9, "peak_lr = inf");
        check_refused(&format!("{cosine}1\nstart_lr=2"), 9, "start_lr = 2");
        check_refused(&format!("{cosine}1\nfinal_lr=2"), 9, "final_lr = 2");
        check_refused("kind='polynomial'\npeak_lr=1\nwarmup={steps=0}\npower=0", 9, "power = 0");
        let tri_stage = "kind='tri-stage'\npeak_lr=1\nwarmup={steps=5}\nhold={steps=5}\n";
        check_refused(tri_stage, 9, "warmup and hold together takes 10 steps");
        check_refused(&format!("{tri_stage}final_scale=0"), 10, "above 0, or decay = \"linear\"");
        check_refused(&format!("{tri_stage}start_scale=1.1"), 10, "start_scale = 1.1");
    }

    #[test]
    fn stray_keys_are_refused() {
        for stray in
            ["kind='constant'\npeak_lr=1\npower=2", "kind='cosine'\npeak_lr=1", "kind='step'\npeak_lr=1"]
        {
            assert!(toml::from_str::<LearningRateConfig>(stray).is_err(), "{stray}");
        }
    }

    fn any_config() -> impl Strategy<Value = LearningRateConfig> {
        let parts = (0.0..1.0_f64, 0.0..=1.0_f64, 0.001..=1.0_f64, 0.0..0.5_f64, 0.0..0.5_f64, 0.5..3.0_f64);
        (0..5, parts).prop_map(|(kind, (peak_lr, start, end, warmup, hold, power))| {
            let (start_lr, final_lr) = (start * peak_lr, end * peak_lr);
            let (warmup, hold) = (Length::Fraction(warmup), Length::Fraction(hold));
            match kind {
                0 => LearningRateConfig::Constant { peak_lr, start_lr, warmup },
                1 => LearningRateConfig::Cosine {
                    peak_lr,
                    start_lr,
                    final_lr,
                    warmup,
                    peak_at: PeakAt::AfterWarmup,
                },
                2 => LearningRateConfig::Polynomial { peak_lr, start_lr, final_lr, warmup, power },
                _ => LearningRateConfig::TriStage {
                    peak_lr,
                    start_scale: start,
                    final_scale: end,
                    warmup,
                    hold,
                    decay: if kind == 3 { DecayShape::Linear } else { DecayShape::Exponential },
                },
            }
        })
    }

    proptest! {
        #[test]
        fn rises_to_the_peak_then_never_rises(config in any_config(), total_steps in 1_u64..300) {
            let learning_rate = config.resolve(total_steps, pace()).unwrap();
            let peak = learning_rate.at(learning_rate.warmup_steps());
            for update in 0..total_steps + 2 {
                let (now, next) = (learning_rate.at(update), learning_rate.at(update + 1));
                prop_assert!(now.is_finite() && now >= 0.0);
                if update < learning_rate.warmup_steps() && learning_rate.warmup_steps() < total_steps {
                    prop_assert!(now <= next * (1.0 + 1e-12) && now <= peak * (1.0 + 1e-12));
                }
                if update >= learning_rate.warmup_steps() {
                    prop_assert!(next <= now * (1.0 + 1e-12));
                }
            }
        }

        #[test]
        fn survives_toml(config in any_config()) {
            let text = toml::to_string(&config).unwrap();
            prop_assert_eq!(toml::from_str::<LearningRateConfig>(&text).unwrap(), config);
        }
    }
}

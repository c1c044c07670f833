//! The thresholds of the watch, and why they are what they are.

use serde::{Deserialize, Serialize};

/// Settings of the collapse watch.
///
/// The defaults lie between what collapsed and healthy small runs (width 128, 300 to 900 steps, images and speech)
/// showed; the numbers are beside each. They are judgement, not theory: a run that is unlike those may need others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollapseConfig {
    /// Whether the run is watched at all. Default true.
    pub enabled: bool,
    /// Whether a collapse stops the run. Default false: it is reported and the run goes on.
    pub stop: bool,
    /// Observations are made every so many steps, at least 1. Default 20.
    pub every_steps: u64,
    /// No alarm before this step, except for values that are not finite. Default 50: by then a low tau has brought
    /// the rank of the targets down to a fifth.
    pub grace_steps: u64,
    /// A collapse is declared after this many alarming observations in a row, at least 1; before that the run is
    /// suspicious. Default 3.
    pub patience_observations: u32,
    /// Alarm when position explains more than this share of the targets, 0 to 1. Default 0.7 (healthy: up to 0.56;
    /// collapsed: 0.9 to 1).
    pub max_position_share: f64,
    /// Alarm when the effective rank of the targets is below this. Default 5 (healthy: 6.9 and more). For narrow
    /// networks the limit is lower, see [`CollapseConfig::min_effective_rank_share`].
    pub min_effective_rank: f64,
    /// Where the rank cannot exceed `r`, the limit above is at most `1 + share * (r - 1)`. Default 1/32, which gives
    /// 5 from width 129 on, 3 at width 65 and 1.5 at width 17.
    pub min_effective_rank_share: f64,
    /// Alarm when an effective rank, of the targets or the front end, is below this share of what it was at the start,
    /// 0 to 1; that of a block only if its activations have run away too, see
    /// [`activation_growth`](CollapseConfig::activation_growth). Default 0.2 (healthy: 0.4 and more; collapsed: 0.03 to
    /// 0.19).
    pub min_effective_rank_of_start: f64,
    /// Alarm when the deviation of the targets over tokens is below this; 0 turns it off. Default 0.1, the
    /// reference's. It fired in none of the collapses seen.
    pub min_target_std: f64,
    /// Alarm when the deviation of the predictions over tokens is below this; 0 turns it off. Default 0.01, the
    /// reference's.
    pub min_prediction_std: f64,
    /// Flat predictions raise no alarm before this step, nor within the grace. Default 300: a student first unlearns its
    /// random outputs, and healthy runs on speech and text then predict little but the mean for a hundred updates
    /// (deviation down to 0.003). One that jumped to a constant is found before by its blocks, flat or run away.
    pub prediction_grace_steps: u64,
    /// Alarm when the deviation of a stage over the positions of a sequence, before any normalisation, is below this
    /// *and* below a tenth of its start. Default 1e-3, where instance norm no longer restores the spread.
    pub min_raw_std: f64,
    /// Alarm when neighbouring targets are more alike than this in the mean, and the distance to 1 has shrunk to a
    /// quarter of its start, -1 to 1. Default 0.95.
    pub max_adjacent_cosine: f64,
    /// Alarm when the loss is above this many times its lowest and the predictions are worse than the mean of the
    /// targets. Above 1; default 3 (a healthy loss rises too when targets grow richer, but not like this).
    pub max_loss_rise: f64,
    /// A run is suspicious when R2 stays below the position share, or below this, for
    /// [`CollapseConfig::r2_patience_observations`]. Default 0.01: the student predicts little but the mean.
    pub min_r2: f64,
    /// R2 is not judged before this step. Default 300: it starts below 0 in healthy runs.
    pub r2_grace_steps: u64,
    /// How many observations in a row make a low R2 suspicious, at least 1. Default 5.
    pub r2_patience_observations: u32,
    /// Clue: from this learning rate on, a collapse is put down to it first. Default 5e-3, above every published
    /// pre-training of the method.
    pub high_lr: f64,
    /// Clue: a warm-up below this share of the run counts as none, 0 to 1. Default 0.01.
    pub short_warmup_fraction: f64,
    /// Clue: below this, tau is put down as the cause, 0 to 1. Default 0.995 (0.9 to 0.99 drove short runs of
    /// images, speech and text to targets of position only; 0.998 did not).
    pub low_tau: f64,
    /// Clue: the teacher follows the student too closely when their weights differ by less than this share.
    /// Default 1e-3.
    pub min_relative_distance: f64,
    /// Clue: a burst is a gradient norm of this many times what is usual. Above 1; default 10.
    pub gradient_burst: f64,
    /// Clue: activations have run away when a block's raw deviation is this many times its start. Above 1; default 5
    /// (9.7 in a run with twenty times the learning rate). Alarm if the block's rank fell as well: healthy blocks that
    /// grew by 5 to 44 kept 0.29 and more of theirs, those of runs with thirty times the rate fell to 0.07 to 0.11.
    pub activation_growth: f64,
}

impl Default for CollapseConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            stop: false,
            every_steps: 20,
            grace_steps: 50,
            patience_observations: 3,
            max_position_share: 0.7,
            min_effective_rank: 5.0,
            min_effective_rank_share: 1.0 / 32.0,
            min_effective_rank_of_start: 0.2,
            min_target_std: 0.1,
            min_prediction_std: 0.01,
            prediction_grace_steps: 300,
            min_raw_std: 1e-3,
            max_adjacent_cosine: 0.95,
            max_loss_rise: 3.0,
            min_r2: 0.01,
            r2_grace_steps: 300,
            r2_patience_observations: 5,
            high_lr: 5e-3,
            short_warmup_fraction: 0.01,
            low_tau: 0.995,
            min_relative_distance: 1e-3,
            gradient_burst: 10.0,
            activation_growth: 5.0,
        }
    }
}

/// A threshold outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("collapse.{key} is {value}; it must be {rule}")]
pub struct InvalidThreshold {
    /// The key within the section of the watch.
    pub key: &'static str,
    /// The value given.
    pub value: f64,
    /// The range it must lie in.
    pub rule: &'static str,
}

impl CollapseConfig {
    /// Checks every threshold against its range.
    ///
    /// # Errors
    ///
    /// The first threshold outside its range.
    pub fn validate(&self) -> Result<(), InvalidThreshold> {
        const SHARE: &str = "between 0 and 1";
        const COSINE: &str = "between -1 and 1";
        const NOT_NEGATIVE: &str = "finite and at least 0";
        const FACTOR: &str = "finite and above 1";
        const COUNT: &str = "at least 1";
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let cosine = |v: f64| (-1.0..=1.0).contains(&v);
        let not_negative = |v: f64| v >= 0.0 && v.is_finite();
        let factor = |v: f64| v > 1.0 && v.is_finite();
        let count = |v: f64| v >= 1.0;
        type Rule<'a> = (&'static str, f64, &'a dyn Fn(f64) -> bool, &'static str);
        let rules: [Rule<'_>; 19] = [
            ("every_steps", self.every_steps as f64, &count, COUNT),
            ("patience_observations", f64::from(self.patience_observations), &count, COUNT),
            ("max_position_share", self.max_position_share, &share, SHARE),
            ("min_effective_rank", self.min_effective_rank, &not_negative, NOT_NEGATIVE),
            ("min_effective_rank_share", self.min_effective_rank_share, &share, SHARE),
            ("min_effective_rank_of_start", self.min_effective_rank_of_start, &share, SHARE),
            ("min_target_std", self.min_target_std, &not_negative, NOT_NEGATIVE),
            ("min_prediction_std", self.min_prediction_std, &not_negative, NOT_NEGATIVE),
            ("min_raw_std", self.min_raw_std, &not_negative, NOT_NEGATIVE),
            ("max_adjacent_cosine", self.max_adjacent_cosine, &cosine, COSINE),
            ("max_loss_rise", self.max_loss_rise, &factor, FACTOR),
            ("min_r2", self.min_r2, &cosine, COSINE),
            ("r2_patience_observations", f64::from(self.r2_patience_observations), &count, COUNT),
            ("high_lr", self.high_lr, &not_negative, NOT_NEGATIVE),
            ("short_warmup_fraction", self.short_warmup_fraction, &share, SHARE),
            ("low_tau", self.low_tau, &share, SHARE),
            ("min_relative_distance", self.min_relative_distance, &not_negative, NOT_NEGATIVE),
            ("gradient_burst", self.gradient_burst, &factor, FACTOR),
            ("activation_growth", self.activation_growth, &factor, FACTOR),
        ];
        match rules.into_iter().find(|(_, value, holds, _)| !holds(*value)) {
            Some((key, value, _, rule)) => Err(InvalidThreshold { key, value, rule }),
            None => Ok(()),
        }
    }

    /// The limit for the effective rank of targets whose rank cannot exceed `rank_limit`.
    pub(super) fn effective_rank_floor(&self, rank_limit: f64) -> f64 {
        self.min_effective_rank.min(1.0 + self.min_effective_rank_share * (rank_limit - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_a_file() {
        let config = CollapseConfig::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<CollapseConfig>(&text).unwrap(), config);
        assert_eq!(toml::from_str::<CollapseConfig>("").unwrap(), config, "every key has its default");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<CollapseConfig>("min_target_var = 0.1").unwrap_err();
        assert!(error.to_string().contains("min_target_var"), "{error}");
    }

    fn check_refused(change: impl FnOnce(&mut CollapseConfig), message: &str) {
        let mut config = CollapseConfig::default();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }

    #[test]
    fn thresholds_out_of_range_are_named() {
        check_refused(|c| c.every_steps = 0, "collapse.every_steps is 0; it must be at least 1");
        check_refused(|c| c.low_tau = 1.5, "collapse.low_tau is 1.5; it must be between 0 and 1");
        check_refused(
            |c| c.min_raw_std = f64::NAN,
            "collapse.min_raw_std is NaN; it must be finite and at least 0",
        );
        check_refused(
            |c| c.gradient_burst = 1.0,
            "collapse.gradient_burst is 1; it must be finite and above 1",
        );
    }

    #[test]
    fn the_rank_floor_scales_with_the_width() {
        let config = CollapseConfig::default();
        for (limit, floor) in [(1.0, 1.0), (17.0, 1.5), (65.0, 3.0), (129.0, 5.0), (768.0, 5.0)] {
            assert_eq!(config.effective_rank_floor(limit), floor, "rank limit {limit}");
        }
    }
}

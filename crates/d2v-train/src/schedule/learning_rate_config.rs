//! Learning rate schedules as configurations write them, and their resolution into steps.

use serde::{Deserialize, Serialize};

use super::learning_rate::AfterWarmup;
use super::{LearningRate, Length, Pace, ScheduleError};

/// A learning rate schedule as written in a configuration, tagged by `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LearningRateConfig {
    /// `kind = "constant"`: warm-up, then the peak for ever.
    Constant {
        /// The rate after warm-up, at least 0.
        peak_lr: f64,
        /// The rate of the first update, 0 to `peak_lr`.
        #[serde(default)]
        start_lr: f64,
        /// Length of the warm-up.
        #[serde(default = "none")]
        warmup: Length,
    },
    /// `kind = "cosine"`: warm-up, then half a cosine down to `final_lr` at the end of the run.
    Cosine {
        /// The rate after warm-up, at least 0.
        peak_lr: f64,
        /// The rate of the first update, 0 to `peak_lr`. fairseq takes its `min_lr` for this too.
        #[serde(default)]
        start_lr: f64,
        /// The rate at the end of the run, 0 to `peak_lr`.
        #[serde(default)]
        final_lr: f64,
        /// Length of the warm-up.
        warmup: Length,
        /// Which update is the first at the peak.
        #[serde(default)]
        peak_at: PeakAt,
    },
    /// `kind = "tri-stage"`: warm-up, hold at the peak, decay over the rest of the run (speech; text rows of the paper).
    TriStage {
        /// The rate while it is held, at least 0.
        peak_lr: f64,
        /// The rate of the first update as a part of `peak_lr`, 0 to 1; 0.01 in the reference.
        #[serde(default = "one_hundredth")]
        start_scale: f64,
        /// The rate at the end as a part of `peak_lr`, 0 to 1, above 0 for an exponential decay; 0.01 in the reference.
        #[serde(default = "one_hundredth")]
        final_scale: f64,
        /// Length of the warm-up; `{ fraction = 0.03 }` for speech Base.
        warmup: Length,
        /// Length of the hold; `{ fraction = 0.9 }` for speech Base.
        hold: Length,
        /// How the rate falls after the hold.
        #[serde(default)]
        decay: DecayShape,
    },
    /// `kind = "polynomial"`: warm-up, then `(1 - x)^power` down to `final_lr` (GLUE fine-tuning).
    Polynomial {
        /// The rate after warm-up, at least 0.
        peak_lr: f64,
        /// The rate of the first update, 0 to `peak_lr`.
        #[serde(default)]
        start_lr: f64,
        /// The rate at the end of the run, 0 to `peak_lr`.
        #[serde(default)]
        final_lr: f64,
        /// Length of the warm-up.
        warmup: Length,
        /// Exponent, above 0; 1 is a straight line.
        #[serde(default = "one")]
        power: f64,
    },
}

/// Which update is the first to use the peak rate after a warm-up of `W` updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakAt {
    /// The first one after the warm-up: `lr(W) = peak` (fairseq).
    #[default]
    AfterWarmup,
    /// The last one of the warm-up: `lr(W - 1) = lr(W) = peak` (official vision code).
    LastWarmupStep,
}

/// How a tri-stage schedule falls from the peak to its final rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayShape {
    /// By the same factor in every update: what the published code does.
    #[default]
    Exponential,
    /// By the same amount in every update: what the paper says.
    Linear,
}

fn none() -> Length {
    Length::Steps(0)
}

fn one() -> f64 {
    1.0
}

fn one_hundredth() -> f64 {
    0.01
}

impl LearningRateConfig {
    /// The schedule in steps, for a run of `total_steps` at this pace.
    ///
    /// # Errors
    /// If a rate, scale or power is not finite or outside its documented range, a length is nonsense, the run has no steps, or
    /// warm-up and hold do not fit into it.
    pub fn resolve(&self, total_steps: u64, pace: Pace) -> Result<LearningRate, ScheduleError> {
        if total_steps == 0 {
            return Err(ScheduleError::NoSteps);
        }
        let phase_steps = |what, length: Length| length.to_steps(what, pace, Some(total_steps));
        let (warmup, start, peak_at) = match *self {
            Self::Constant { warmup, start_lr, .. } | Self::Polynomial { warmup, start_lr, .. } => {
                (warmup, start_lr, PeakAt::AfterWarmup)
            }
            Self::Cosine { warmup, start_lr, peak_at, .. } => (warmup, start_lr, peak_at),
            Self::TriStage { warmup, start_scale, peak_lr, .. } => {
                within("start_scale", start_scale, start_scale <= 1.0, "a part of peak_lr is from 0 to 1")?;
                (warmup, start_scale * peak_lr, PeakAt::AfterWarmup)
            }
        };
        let (peak, after_warmup) = match *self {
            Self::Constant { peak_lr, .. } => (peak_lr, AfterWarmup::Constant),
            Self::Cosine { peak_lr, final_lr, .. } => (peak_lr, AfterWarmup::Cosine { final_lr }),
            Self::TriStage { peak_lr, final_scale, hold, decay, .. } => {
                within("final_scale", final_scale, final_scale <= 1.0, "a part of peak_lr is from 0 to 1")?;
                if decay == DecayShape::Exponential {
                    let rule = "an exponential decay never reaches 0; set it above 0, or decay = \"linear\"";
                    within("final_scale", final_scale, final_scale > 0.0, rule)?;
                }
                let hold_steps = phase_steps("hold", hold)?;
                (peak_lr, AfterWarmup::TriStage { hold_steps, decay, final_scale })
            }
            Self::Polynomial { peak_lr, final_lr, power, .. } => {
                within("power", power, power > 0.0, "the exponent is a finite number above 0")?;
                (peak_lr, AfterWarmup::Polynomial { final_lr, power })
            }
        };
        within("peak_lr", peak, true, "a learning rate is a finite number of at least 0")?;
        within("start_lr", start, start <= peak, "the rate of the first update is from 0 to peak_lr")?;
        if let AfterWarmup::Cosine { final_lr } | AfterWarmup::Polynomial { final_lr, .. } = after_warmup {
            within("final_lr", final_lr, final_lr <= peak, "the rate at the end is from 0 to peak_lr")?;
        }

        let warmup_steps = phase_steps("warmup", warmup)?;
        let (phases, steps) = match after_warmup {
            AfterWarmup::TriStage { hold_steps, .. } => {
                ("warmup and hold together", warmup_steps + hold_steps)
            }
            _ => ("warmup", warmup_steps),
        };
        if steps > total_steps {
            return Err(ScheduleError::LongerThanRun { phases, steps, total_steps });
        }
        Ok(LearningRate { peak, start, peak_at, warmup_steps, total_steps, after_warmup })
    }
}

/// Accepts a finite `value` of at least 0 for which `holds`.
fn within(what: &'static str, value: f64, holds: bool, rule: &'static str) -> Result<(), ScheduleError> {
    if value.is_finite() && value >= 0.0 && holds {
        Ok(())
    } else {
        Err(ScheduleError::Rate { what, value, rule })
    }
}

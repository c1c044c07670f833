//! MAE's masking: a fixed share of uniformly random positions (text, data2vec 2.0).

use serde::{Deserialize, Serialize};

use crate::error::check_share_below_one;
use crate::padding::PaddedPositions;
use crate::selection::{choose_distinct, floor_share};
use crate::{Error, MaskSampler, Result, RowRequest};

/// Settings of [`Random`]. The default is data2vec 2.0's for text Base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomConfig {
    /// The share R of positions to hide, from 0 up to but not 1. Default 0.48; text Large takes 0.5.
    pub mask_prob: f64,
    /// Whether padding can be hidden. Default: never.
    pub padding: PaddedPositions,
}

impl Default for RandomConfig {
    fn default() -> Self {
        Self { mask_prob: 0.48, padding: PaddedPositions::NeverHidden }
    }
}

impl RandomConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`Error::Setting`] where `mask_prob` is outside.
    pub fn validate(&self) -> Result<()> {
        check_share_below_one("mask_prob", self.mask_prob)
    }
}

/// Keeps exactly `floor(T (1 - R))` uniformly random positions of T visible and hides the rest (MAE, section 3; data2vec
/// 2.0 for text).
///
/// T is the row's real length, or its padded length with [`PaddedPositions::CountAsReal`]. With `mask_prob` 0 nothing is
/// hidden. [`crate::VisibleOrder`] makes the indices that the reference calls `ids_keep` and `ids_restore`.
///
/// # Errors
/// When drawing: [`Error::RowTooShort`] for a row that is all padding, [`Error::NothingVisible`] where so few
/// positions are real that none would stay visible.
///
/// ```
/// use d2v_masking::{MaskKey, MaskSampler, Positions, Random, RandomConfig};
///
/// let mask = Random::new(RandomConfig::default())?.sample_batch(
///     Positions::Line { len: 512 },
///     None,
///     &[MaskKey { sample_id: 1, ..Default::default() }, MaskKey { sample_id: 2, ..Default::default() }],
/// )?;
/// assert_eq!((mask.hidden_count(0), mask.hidden_count(1)), (246, 246));
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Random {
    config: RandomConfig,
}

impl Random {
    /// A sampler with these settings.
    ///
    /// # Errors
    /// Those of [`RandomConfig::validate`].
    pub fn new(config: RandomConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }
}

impl MaskSampler for Random {
    fn fill_row(&self, request: &RowRequest, scratch: &mut Vec<u32>, row: &mut [bool]) -> Result<()> {
        let RowRequest { real_len, key, .. } = *request;
        if real_len == 0 {
            let sample_id = key.sample_id;
            return Err(Error::RowTooShort { sampler: "random", sample_id, real_len, need: 1 });
        }
        let drawn = self.config.padding.drawn_len(real_len, row.len());
        let visible = floor_share(drawn, 1.0 - self.config.mask_prob);
        if visible == 0 {
            return Err(Error::NothingVisible { sample_id: key.sample_id, real_len });
        }
        for &position in choose_distinct(drawn, drawn - visible, scratch, &mut key.rng()) {
            row[position as usize] = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::count_hidden;
    use crate::{MaskKey, Positions};

    /// `Ok` is the number of hidden positions, all of them real unless padding counts as real.
    #[track_caller]
    fn check(
        mask_prob: f64,
        padding: PaddedPositions,
        real_len: usize,
        len: usize,
        expected: &Result<usize>,
    ) {
        let random = Random::new(RandomConfig { mask_prob, padding }).unwrap();
        let row = random.sample_row(Positions::Line { len }, real_len, MaskKey::default());
        assert_eq!(row.as_ref().map(|row| count_hidden(row)).map_err(Clone::clone), *expected);
        if let (Ok(row), PaddedPositions::NeverHidden) = (row, padding) {
            assert_eq!(count_hidden(&row[real_len..]), 0);
        }
    }

    #[test]
    fn counts_are_exact_or_the_row_is_refused() {
        use PaddedPositions::{CountAsReal, NeverHidden};
        check(0.48, NeverHidden, 512, 512, &Ok(246));
        check(0.5, NeverHidden, 512, 512, &Ok(256));
        check(0.48, NeverHidden, 77, 512, &Ok(37));
        check(0.48, CountAsReal, 77, 512, &Ok(246));
        check(0.8, NeverHidden, 10, 10, &Ok(8));
        check(0.0, NeverHidden, 1, 1, &Ok(0));
        check(0.5, NeverHidden, 1, 8, &Err(Error::NothingVisible { sample_id: 0, real_len: 1 }));
        let too_short = Error::RowTooShort { sampler: "random", sample_id: 0, real_len: 0, need: 1 };
        check(0.5, CountAsReal, 0, 8, &Err(too_short));
    }

    #[test]
    fn hiding_everything_is_refused() {
        for mask_prob in [1.0, -0.1, f64::NAN] {
            assert!(matches!(
                Random::new(RandomConfig { mask_prob, ..Default::default() }),
                Err(Error::Setting { setting: "mask_prob", .. })
            ));
        }
    }
}

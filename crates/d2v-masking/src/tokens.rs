//! BERT's and RoBERTa's choice of tokens (text, data2vec 1.0).

use rand::seq::SliceRandom;
use rand_distr::{Distribution, Normal};

use crate::selection::round_randomly;
use crate::tokens_config::{SpecialTokens, TokensConfig};
use crate::{Error, MaskRng, MaskSampler, Result, RowRequest};

/// Hides tokens, single or in spans (BERT, section 3.1; RoBERTa, section 4.1; data2vec 1.0 for text).
///
/// `floor(p n / l + U)` distinct starts among the n tokens that can be chosen; each starts a span of `span_length`, which
/// is cut off at the end of the row. So the default recipe hides floor or ceiling of 15 %.
///
/// As a [`MaskSampler`] this knows positions only: exempt special tokens are the first and the last of a row
/// (`<s>` and `</s>`). [`crate::TokenCorruptor`] knows the ids: it exempts special ids wherever they stand, chooses whole
/// words, and says what the student sees at the chosen positions. Where a row's special tokens are just its first and
/// last, both choose the same positions.
///
/// Results at the edges: a row without tokens that can be chosen, and `mask_prob` 0, hide nothing; `mask_prob` 1 with
/// spans of one hides every token that can be chosen.
///
/// # Errors
/// When drawing: [`Error::NeedsLine`]; [`Error::RowTooShort`] for a row that is all padding;
/// [`Error::NeedsWordStarts`] with `whole_words`.
///
/// ```
/// use d2v_masking::{MaskKey, MaskSampler, Positions, Tokens, TokensConfig};
///
/// let row = Tokens::new(TokensConfig::default())?.sample_row(Positions::Line { len: 102 }, 102, MaskKey::default())?;
/// assert_eq!(row.iter().filter(|&&hidden| hidden).count(), 15);
/// assert!(!row[0] && !row[101]);
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokens {
    config: TokensConfig,
}

impl Tokens {
    /// A sampler with these settings.
    ///
    /// # Errors
    /// Those of [`TokensConfig::validate`].
    pub fn new(config: TokensConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }
}

impl MaskSampler for Tokens {
    fn fill_row(&self, request: &RowRequest, scratch: &mut Vec<u32>, row: &mut [bool]) -> Result<()> {
        request.positions.line("token")?;
        let RowRequest { real_len, key, .. } = *request;
        if self.config.whole_words {
            return Err(Error::NeedsWordStarts { sample_id: key.sample_id });
        }
        if real_len == 0 {
            let sample_id = key.sample_id;
            return Err(Error::RowTooShort { sampler: "token", sample_id, real_len, need: 1 });
        }
        let exempt = self.config.special_tokens == SpecialTokens::Exempt;
        let can_be_chosen = |position| !exempt || (position != 0 && position != real_len - 1);
        let mut rng = self.config.refresh.apply(key).rng();
        choose_units(&self.config, can_be_chosen, &mut row[..real_len], scratch, &mut rng);
        Ok(())
    }
}

/// Chooses spans of units (tokens or words) and sets them in `chosen`, which holds one value per unit, all false.
pub(crate) fn choose_units(
    config: &TokensConfig,
    can_be_chosen: impl Fn(usize) -> bool,
    chosen: &mut [bool],
    scratch: &mut Vec<u32>,
    rng: &mut MaskRng,
) {
    scratch.clear();
    scratch.extend((0..chosen.len()).filter(|&unit| can_be_chosen(unit)).map(|unit| unit as u32));
    let spans = round_randomly(config.mask_prob * scratch.len() as f64 / config.span_length as f64, rng);
    let (starts, _) = scratch.partial_shuffle(rng, spans);
    for &start in &*starts {
        let length = draw_length(config, rng);
        let start = start as usize;
        let end = start.saturating_add(length).min(chosen.len());
        for (offset, chosen) in chosen[start..end].iter_mut().enumerate() {
            *chosen = can_be_chosen(start + offset);
        }
    }
}

/// The length of one span.
fn draw_length(config: &TokensConfig, rng: &mut MaskRng) -> usize {
    if config.span_stdev == 0.0 {
        return config.span_length;
    }
    let normal = Normal::new(config.span_length as f64, config.span_stdev)
        .expect("the standard deviation was checked to be finite");
    // A negative float becomes 0.
    normal.sample(rng).round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::count_hidden;
    use crate::{MaskKey, Positions};

    #[track_caller]
    fn check(config: TokensConfig, real_len: usize, expected: &Result<usize>) {
        let row = Tokens::new(config).unwrap().sample_row(
            Positions::Line { len: 20 },
            real_len,
            MaskKey::default(),
        );
        assert_eq!(row.map(|row| count_hidden(&row)), *expected);
    }

    #[test]
    fn edges_are_as_documented() {
        let with =
            |mask_prob, special_tokens| TokensConfig { mask_prob, special_tokens, ..Default::default() };
        check(with(0.0, SpecialTokens::Maskable), 20, &Ok(0));
        check(with(1.0, SpecialTokens::Maskable), 20, &Ok(20));
        check(with(1.0, SpecialTokens::Exempt), 20, &Ok(18));
        check(with(1.0, SpecialTokens::Exempt), 2, &Ok(0));
        check(with(1.0, SpecialTokens::Exempt), 1, &Ok(0));
        check(with(1.0, SpecialTokens::Maskable), 1, &Ok(1));
        let too_short = Error::RowTooShort { sampler: "token", sample_id: 0, real_len: 0, need: 1 };
        check(TokensConfig::default(), 0, &Err(too_short));
        let whole_words = TokensConfig { whole_words: true, ..Default::default() };
        check(whole_words, 20, &Err(Error::NeedsWordStarts { sample_id: 0 }));
    }
}

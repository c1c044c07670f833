//! What the student sees at chosen tokens: the mask token, a random id, or the token itself (BERT's 80/10/10).

use rand::RngExt;
use rayon::prelude::*;

use crate::key::domain;
use crate::tokens::choose_units;
use crate::tokens_config::{SpecialTokens, TokensConfig};
use crate::vocabulary::Vocabulary;
use crate::{Error, Mask, MaskKey, PaddingMask, Result};

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was not chosen.
    Untouched,
    /// It was chosen and shows the mask token.
    Masked,
    /// It was chosen and shows a random id (which may be its own).
    Replaced,
    /// It was chosen and shows itself.
    Kept,
}

/// One sample after masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupted {
    /// What the student sees, one id per token.
    pub ids: Vec<u32>,
    /// What became of each token.
    pub fates: Vec<Fate>,
}

impl Corrupted {
    /// The chosen tokens, whatever they show: those that BERT predicts, and by the paper data2vec as well.
    pub fn chosen(&self) -> impl Iterator<Item = bool> + '_ {
        self.fates.iter().map(|&fate| fate != Fate::Untouched)
    }

    /// The tokens that show the mask token: the only ones that enter the loss of data2vec's released code.
    pub fn shows_mask(&self) -> impl Iterator<Item = bool> + '_ {
        self.fates.iter().map(|&fate| fate == Fate::Masked)
    }

    /// The targets of masked language modelling: the original id at chosen tokens, `pad_id` elsewhere.
    ///
    /// # Errors
    /// [`Error::RowLength`] unless `original` has as many tokens.
    pub fn mlm_targets(&self, original: &[u32], pad_id: u32) -> Result<Vec<u32>> {
        if original.len() != self.fates.len() {
            return Err(Error::RowLength { row: 0, expected: self.fates.len(), got: original.len() });
        }
        Ok(self.chosen().zip(original).map(|(chosen, &id)| if chosen { id } else { pad_id }).collect())
    }
}

/// A batch after masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptedBatch {
    /// What the student sees: rows x len ids in row-major order. Padding is as it was.
    pub ids: Vec<u32>,
    /// The chosen tokens, whatever they show.
    pub chosen: Mask,
    /// The tokens that show the mask token.
    pub shows_mask: Mask,
}

/// Chooses tokens as [`crate::Tokens`] does and decides what the student sees in their place (BERT, section 3.1).
///
/// Of the chosen tokens, `random_prob` get a random id, `leave_prob` keep theirs and the others show the mask token. With
/// `whole_words` all this is decided word by word; the tokens of a replaced word get an id each.
///
/// ```
/// use d2v_masking::{Fate, MaskKey, TokenCorruptor, TokensConfig, Vocabulary};
///
/// let vocabulary = Vocabulary::roberta();
/// let mask_id = vocabulary.mask_id();
/// let corruptor = TokenCorruptor::new(TokensConfig::spans_of_four(), vocabulary)?;
/// let ids: Vec<u32> = [0].into_iter().chain(100..140).chain([2]).collect();
/// let seen = corruptor.corrupt(&ids, None, MaskKey::default())?;
/// assert_eq!((seen.ids[0], seen.ids[41]), (0, 2), "special tokens are exempt");
/// for (position, fate) in seen.fates.iter().enumerate() {
///     let expected = if *fate == Fate::Masked { mask_id } else { ids[position] };
///     assert_eq!(seen.ids[position], expected);
/// }
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenCorruptor {
    config: TokensConfig,
    vocabulary: Vocabulary,
}

impl TokenCorruptor {
    /// A corruptor with these settings.
    ///
    /// # Errors
    /// Those of [`TokensConfig::validate`].
    pub fn new(config: TokensConfig, vocabulary: Vocabulary) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, vocabulary })
    }

    /// Masks one sample of real tokens (no padding).
    ///
    /// `word_starts` has true where a word begins and matters with `whole_words` only; special tokens are words of their
    /// own wherever the flags say otherwise.
    ///
    /// # Errors
    /// [`Error::RowTooShort`] without tokens; [`Error::UnknownId`]; [`Error::AlreadyMasked`] if the input holds the mask
    /// token; [`Error::NeedsWordStarts`] and [`Error::WordStarts`] where `whole_words` lacks flags that fit.
    pub fn corrupt(&self, ids: &[u32], word_starts: Option<&[bool]>, key: MaskKey) -> Result<Corrupted> {
        self.check_ids(ids, key.sample_id)?;
        let starts = self.unit_starts(ids, word_starts, key.sample_id)?;
        let exempt = self.config.special_tokens == SpecialTokens::Exempt;
        let can_be_chosen = |unit: usize| !(exempt && self.vocabulary.is_special(ids[starts[unit]]));
        let key = self.config.refresh.apply(key);
        let mut chosen = vec![false; starts.len()];
        choose_units(&self.config, can_be_chosen, &mut chosen, &mut Vec::new(), &mut key.rng());

        let mut rng = key.rng_for(domain::CORRUPT);
        let mut seen = Corrupted { ids: ids.to_vec(), fates: vec![Fate::Untouched; ids.len()] };
        for unit in (0..starts.len()).filter(|&unit| chosen[unit]) {
            let end = starts.get(unit + 1).copied().unwrap_or(ids.len());
            let fate = self.draw_fate(rng.random());
            for position in starts[unit]..end {
                seen.fates[position] = fate;
                match fate {
                    Fate::Masked => seen.ids[position] = self.vocabulary.mask_id(),
                    Fate::Replaced => seen.ids[position] = self.vocabulary.draw(&mut rng),
                    Fate::Kept | Fate::Untouched => {}
                }
            }
        }
        Ok(seen)
    }

    /// Masks a batch of `keys.len()` rows of `len` tokens in row-major order, each as [`corrupt`](Self::corrupt) does.
    ///
    /// Rows are masked by rayon's threads; the result is the same for any number of them. Without `padding` all tokens
    /// are real.
    ///
    /// # Errors
    /// [`Error::MaskShape`] unless there are rows x len ids (and word starts, where given); [`Error::PaddingShape`]; and
    /// those of [`corrupt`](Self::corrupt), of the first row that has one.
    pub fn corrupt_batch(
        &self,
        ids: &[u32],
        len: usize,
        padding: Option<&PaddingMask>,
        word_starts: Option<&[bool]>,
        keys: &[MaskKey],
    ) -> Result<CorruptedBatch> {
        let rows = keys.len();
        for got in [Some(ids.len()), word_starts.map(<[bool]>::len)].into_iter().flatten() {
            if rows.checked_mul(len) != Some(got) {
                return Err(Error::MaskShape { rows, len, got });
            }
        }
        if let Some(padding) = padding
            && (padding.rows(), padding.len()) != (rows, len)
        {
            return Err(Error::PaddingShape { rows, len, got_rows: padding.rows(), got_len: padding.len() });
        }
        let one = |row: usize| {
            let real_len = padding.map_or(len, |padding| padding.lengths()[row]);
            let real = row * len..row * len + real_len;
            self.corrupt(&ids[real.clone()], word_starts.map(|starts| &starts[real]), keys[row])
        };
        let seen: Vec<Result<Corrupted>> = (0..rows).into_par_iter().map(one).collect();

        let mut batch_ids = ids.to_vec();
        let mut chosen = vec![false; ids.len()];
        let mut shows_mask = vec![false; ids.len()];
        for (row, seen) in seen.into_iter().enumerate() {
            let seen = seen?;
            let at = row * len;
            batch_ids[at..at + seen.ids.len()].copy_from_slice(&seen.ids);
            chosen[at..].iter_mut().zip(seen.chosen()).for_each(|(to, from)| *to = from);
            shows_mask[at..].iter_mut().zip(seen.shows_mask()).for_each(|(to, from)| *to = from);
        }
        Ok(CorruptedBatch {
            ids: batch_ids,
            chosen: Mask::new(rows, len, chosen)?,
            shows_mask: Mask::new(rows, len, shows_mask)?,
        })
    }

    fn check_ids(&self, ids: &[u32], sample_id: u64) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::RowTooShort { sampler: "token", sample_id, real_len: 0, need: 1 });
        }
        let (size, mask_id) = (self.vocabulary.size(), self.vocabulary.mask_id());
        if let Some(&id) = ids.iter().find(|&&id| id >= size) {
            return Err(Error::UnknownId { id, size });
        }
        match ids.iter().position(|&id| id == mask_id) {
            Some(position) => Err(Error::AlreadyMasked { sample_id, mask_id, position }),
            None => Ok(()),
        }
    }

    /// Where each unit (token or word) begins, ascending.
    fn unit_starts(&self, ids: &[u32], word_starts: Option<&[bool]>, sample_id: u64) -> Result<Vec<usize>> {
        if !self.config.whole_words {
            return Ok((0..ids.len()).collect());
        }
        let word_starts = word_starts.ok_or(Error::NeedsWordStarts { sample_id })?;
        if word_starts.len() != ids.len() {
            return Err(Error::WordStarts { sample_id, tokens: ids.len(), starts: word_starts.len() });
        }
        let special = |position: usize| self.vocabulary.is_special(ids[position]);
        let begins = |&position: &usize| {
            position == 0 || word_starts[position] || special(position) || special(position - 1)
        };
        Ok((0..ids.len()).filter(begins).collect())
    }

    /// What becomes of a chosen unit, from a uniform number in [0, 1).
    fn draw_fate(&self, ticket: f64) -> Fate {
        let TokensConfig { random_prob, leave_prob, .. } = self.config;
        if ticket < random_prob {
            Fate::Replaced
        } else if ticket < random_prob + leave_prob {
            Fate::Kept
        } else {
            Fate::Masked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MaskRefresh, MaskSampler, Positions, Tokens};

    const KEY: MaskKey = MaskKey { seed: 3, epoch: 1, sample_id: 9, clone: 0 };

    fn corruptor(config: TokensConfig) -> TokenCorruptor {
        TokenCorruptor::new(config, Vocabulary::roberta()).unwrap()
    }

    fn sentence(tokens: u32) -> Vec<u32> {
        [0].into_iter().chain((0..tokens).map(|token| 100 + token)).chain([2]).collect()
    }

    #[track_caller]
    fn check_error(config: TokensConfig, ids: &[u32], word_starts: Option<&[bool]>, expected: Error) {
        assert_eq!(corruptor(config).corrupt(ids, word_starts, KEY), Err(expected));
    }

    #[test]
    fn inputs_that_do_not_suit_are_errors() {
        let tokens = TokensConfig::default;
        let words = TokensConfig { whole_words: true, ..tokens() };
        let too_short = Error::RowTooShort { sampler: "token", sample_id: 9, real_len: 0, need: 1 };
        check_error(tokens(), &[], None, too_short);
        check_error(tokens(), &[5, 50_265], None, Error::UnknownId { id: 50_265, size: 50_265 });
        let masked = Error::AlreadyMasked { sample_id: 9, mask_id: 50_264, position: 1 };
        check_error(tokens(), &[0, 50_264, 2], None, masked);
        check_error(words.clone(), &[0, 5, 2], None, Error::NeedsWordStarts { sample_id: 9 });
        let starts = Error::WordStarts { sample_id: 9, tokens: 3, starts: 1 };
        check_error(words, &[0, 5, 2], Some(&[true]), starts);
    }

    #[test]
    fn words_stay_whole_and_specials_alone() {
        let config = TokensConfig { mask_prob: 0.5, whole_words: true, ..TokensConfig::default() };
        let ids = sentence(60);
        // Words of three tokens; no flag at the special tokens.
        let starts: Vec<bool> = (0..ids.len()).map(|position| position % 3 == 1 && position < 61).collect();
        for sample_id in 0..50 {
            let seen =
                corruptor(config.clone()).corrupt(&ids, Some(&starts), MaskKey { sample_id, ..KEY }).unwrap();
            assert_eq!((seen.fates[0], seen.fates[61]), (Fate::Untouched, Fate::Untouched));
            for word in seen.fates[1..61].chunks(3) {
                assert!(word.iter().all(|fate| *fate == word[0]), "{word:?}");
            }
        }
    }

    #[test]
    fn positions_agree_with_the_sampler_that_knows_no_ids() {
        for config in [TokensConfig::default(), TokensConfig::spans_of_four()] {
            let ids = sentence(98);
            let seen = corruptor(config.clone()).corrupt(&ids, None, KEY).unwrap();
            let row =
                Tokens::new(config).unwrap().sample_row(Positions::Line { len: 100 }, 100, KEY).unwrap();
            assert_eq!(seen.chosen().collect::<Vec<_>>(), row);
        }
    }

    #[test]
    fn static_masks_repeat_and_dynamic_ones_do_not() {
        let draw = |refresh, epoch| {
            let config = TokensConfig { refresh, ..TokensConfig::default() };
            corruptor(config).corrupt(&sentence(98), None, MaskKey { epoch, ..KEY }).unwrap()
        };
        let copies = MaskRefresh::Static { copies: 3 };
        assert_eq!(draw(copies, 1), draw(copies, 4));
        assert_ne!(draw(copies, 1), draw(copies, 2));
        assert_ne!(draw(MaskRefresh::Dynamic {}, 1), draw(MaskRefresh::Dynamic {}, 4));
    }

    #[test]
    fn a_batch_is_its_rows() {
        let padding = PaddingMask::from_lengths(&[52, 30], 52).unwrap();
        let mut ids = sentence(50);
        ids.extend(sentence(28).into_iter().chain([1; 22]));
        let keys = [KEY, MaskKey { sample_id: 10, ..KEY }];
        let corruptor = corruptor(TokensConfig::default());
        let batch = corruptor.corrupt_batch(&ids, 52, Some(&padding), None, &keys).unwrap();
        for (row, key) in keys.into_iter().enumerate() {
            let real_len = padding.lengths()[row];
            let real = &ids[row * 52..row * 52 + real_len];
            let seen = corruptor.corrupt(real, None, key).unwrap();
            assert_eq!(&batch.ids[row * 52..row * 52 + real_len], seen.ids);
            assert_eq!(batch.chosen.row(row)[..real_len], seen.chosen().collect::<Vec<_>>());
            assert_eq!(batch.shows_mask.row(row)[..real_len], seen.shows_mask().collect::<Vec<_>>());
            assert!(batch.chosen.hidden(row).all(|position| position < real_len));
        }
        assert_eq!(batch.ids[82..], [1; 22]);
        let shape = corruptor.corrupt_batch(&ids, 51, None, None, &keys);
        assert_eq!(shape, Err(Error::MaskShape { rows: 2, len: 51, got: 104 }));
    }

    #[test]
    fn language_model_targets_are_the_original_ids_of_chosen_tokens() {
        let ids = sentence(98);
        let seen = corruptor(TokensConfig::default()).corrupt(&ids, None, KEY).unwrap();
        let targets = seen.mlm_targets(&ids, 1).unwrap();
        for ((chosen, target), id) in seen.chosen().zip(targets).zip(&ids) {
            assert_eq!(target, if chosen { *id } else { 1 });
        }
        assert_eq!(seen.mlm_targets(&[0], 1), Err(Error::RowLength { row: 0, expected: 100, got: 1 }));
    }
}

//! Laws of the token masks.

use d2v_masking::{
    Fate, Mask, MaskConfig, MaskKey, MaskRefresh, Positions, SpecialTokens, TokenCorruptor, TokensConfig,
    Vocabulary,
};
use proptest::prelude::*;

use crate::{cases, key};

/// Settings under which any share of tokens is chosen, shown, replaced and kept.
fn tokens_config() -> impl Strategy<Value = TokensConfig> {
    let special_tokens = prop_oneof![Just(SpecialTokens::Exempt), Just(SpecialTokens::Maskable)];
    (0.0..=1.0, 1..5usize, 0.0..=0.5, 0.0..=0.5, special_tokens).prop_map(
        |(mask_prob, span_length, leave_prob, random_prob, special_tokens)| TokensConfig {
            mask_prob,
            span_length,
            leave_prob,
            random_prob,
            special_tokens,
            ..TokensConfig::default()
        },
    )
}

/// Ids of which some are special, and where words begin.
fn sentence() -> impl Strategy<Value = (Vec<u32>, Vec<bool>)> {
    let token = (prop_oneof![1 => 0..4u32, 9 => 4..99u32], prop::bool::weighted(0.4));
    prop::collection::vec(token, 1..120).prop_map(|tokens| tokens.into_iter().unzip())
}

proptest! {
    #![proptest_config(cases())]

    /// Words share one fate, special tokens are words of their own, and shares are of words.
    #[test]
    fn whole_words_are_chosen_and_shown_as_one(
        config in tokens_config(), (ids, starts) in sentence(), key in key(),
    ) {
        let vocabulary = Vocabulary::new(100, 99, &[0, 1, 2, 3]).unwrap();
        let special = |position: usize| vocabulary.is_special(ids[position]);
        let exempt = config.special_tokens == SpecialTokens::Exempt;
        let config = TokensConfig { whole_words: true, ..config };
        let corruptor = TokenCorruptor::new(config.clone(), vocabulary.clone()).unwrap();
        let seen = corruptor.corrupt(&ids, Some(&starts), key).unwrap();
        let (mut words, mut chosen_words) = (0, 0);
        for position in 0..ids.len() {
            let begins = position == 0 || starts[position] || special(position) || special(position - 1);
            let (fate, shown) = (seen.fates[position], seen.ids[position]);
            if begins {
                words += usize::from(!(exempt && special(position)));
                chosen_words += usize::from(fate != Fate::Untouched);
            } else {
                prop_assert_eq!(fate, seen.fates[position - 1], "position {}", position);
            }
            match fate {
                Fate::Untouched | Fate::Kept => prop_assert_eq!(shown, ids[position]),
                Fate::Masked => prop_assert_eq!(shown, vocabulary.mask_id()),
                Fate::Replaced => prop_assert!(!vocabulary.is_special(shown)),
            }
            prop_assert!(fate == Fate::Untouched || !exempt || !special(position));
        }
        let spans = config.mask_prob * words as f64 / config.span_length as f64;
        prop_assert!(chosen_words <= spans.ceil() as usize * config.span_length, "{} of {}", chosen_words, words);
        if config.span_length == 1 {
            prop_assert!(chosen_words >= spans.floor() as usize, "{} of {}", chosen_words, words);
        }
        prop_assert_eq!(corruptor.corrupt(&ids, Some(&starts), key).unwrap(), seen);
    }

    /// Dynamic masks change with every epoch, static ones come back after as many as there are copies.
    #[test]
    fn masks_change_between_epochs_as_configured(copies in 2..20u64, key in key()) {
        let ids: Vec<u32> = (0..200).map(|token| 4 + token % 95).collect();
        let draw = |refresh, epoch| {
            let config = TokensConfig { refresh, ..TokensConfig::default() };
            let corruptor = TokenCorruptor::new(config, Vocabulary::new(100, 99, &[0, 1, 2, 3]).unwrap());
            corruptor.unwrap().corrupt(&ids, None, MaskKey { epoch, ..key }).unwrap()
        };
        let MaskKey { epoch, .. } = key;
        prop_assert_ne!(draw(MaskRefresh::Dynamic {}, epoch), draw(MaskRefresh::Dynamic {}, epoch + copies));
        let fixed = MaskRefresh::Static { copies };
        prop_assert_eq!(draw(fixed, epoch), draw(fixed, epoch + copies));
        prop_assert_ne!(draw(fixed, epoch), draw(fixed, epoch + 1));
    }

    #[test]
    fn the_bert_recipe_keeps_its_laws(words in 1..200u32, key in key(), exempt in any::<bool>()) {
        let special_tokens = if exempt {
            SpecialTokens::Exempt
        } else {
            SpecialTokens::Maskable
        };
        let vocabulary = Vocabulary::new(100, 99, &[0, 1, 2, 3]).unwrap();
        let config = TokensConfig { special_tokens, ..TokensConfig::default() };
        let corruptor = TokenCorruptor::new(config, vocabulary.clone()).unwrap();
        let ids: Vec<u32> = [0].into_iter().chain((0..words).map(|word| 4 + word % 95)).chain([2]).collect();
        let seen = corruptor.corrupt(&ids, None, key).unwrap();

        let maskable = if exempt { words as usize } else { ids.len() };
        let expected = 0.15 * maskable as f64;
        let chosen = seen.chosen().filter(|&chosen| chosen).count();
        prop_assert!((expected.floor() as usize..=expected.ceil() as usize).contains(&chosen), "{}", chosen);
        let targets = seen.mlm_targets(&ids, 1).unwrap();
        for position in 0..ids.len() {
            let (id, shown) = (ids[position], seen.ids[position]);
            match seen.fates[position] {
                Fate::Untouched | Fate::Kept => prop_assert_eq!(shown, id),
                Fate::Masked => prop_assert_eq!(shown, vocabulary.mask_id()),
                Fate::Replaced => prop_assert!(!vocabulary.is_special(shown)),
            }
            let untouched = seen.fates[position] == Fate::Untouched;
            prop_assert_eq!(targets[position], if untouched { 1 } else { id });
            prop_assert!(untouched || !exempt || !vocabulary.is_special(id));
        }
        prop_assert_eq!(corruptor.corrupt(&ids, None, key).unwrap(), seen);
        let marked: Vec<u32> = ids.iter().copied().chain([99]).collect();
        prop_assert!(corruptor.corrupt(&marked, None, key).is_err());
    }

    /// Free spans of tokens are whole, but at the end of the row, where they are cut off.
    #[test]
    fn spans_of_tokens_are_whole(mask_prob in 0.0..=1.0, span_length in 1..6usize, len in 1..120usize, key in key()) {
        let special_tokens = SpecialTokens::Maskable;
        let config = TokensConfig { mask_prob, span_length, special_tokens, ..TokensConfig::default() };
        let sampler = MaskConfig::Tokens(config).build().unwrap();
        let mask = Mask::new(1, len, sampler.sample_row(Positions::Line { len }, len, key).unwrap()).unwrap();
        prop_assert!(mask.runs(0).all(|run| run.len() >= span_length || run.end == len), "{}", mask);
    }
}

//! Laws of the token masks.

use d2v_masking::{
    Fate, Mask, MaskConfig, Positions, SpecialTokens, TokenCorruptor, TokensConfig, Vocabulary,
};
use proptest::prelude::*;

use crate::{cases, key};

proptest! {
    #![proptest_config(cases())]

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

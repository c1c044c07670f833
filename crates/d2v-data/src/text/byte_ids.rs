//! A short cut for tokenizers of plain bytes, whose general way takes several times as long.

use std::collections::HashMap;
use tokenizers::PreTokenizerWrapper;

/// The id of each byte.
pub(super) struct ByteIds([u32; 256]);

impl ByteIds {
    /// The ids, if the tokenizer does nothing but look up each byte: no token but special ones is longer than one byte,
    /// so there is nothing to merge, and text reaches the model as it is.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer, vocabulary: &HashMap<String, u32>) -> Option<Self> {
        let added = tokenizer.get_added_tokens_decoder();
        let is_plain = tokenizer.get_normalizer().is_none()
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(b)) if !b.add_prefix_space)
            && added.values().all(|token| token.special)
            && vocabulary.iter().all(|(token, id)| token.chars().nth(1).is_none() || added.contains_key(id));
        if !is_plain {
            return None;
        }
        let mut ids = [0; 256];
        let mut unprintable = 0x100;
        for byte in 0..=u8::MAX {
            // As GPT-2 writes bytes: printable Latin-1 as it is, others from U+0100 on.
            let written = match byte {
                0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
                _ => {
                    unprintable += 1;
                    char::from_u32(unprintable - 1)?
                }
            };
            ids[usize::from(byte)] = *vocabulary.get(written.encode_utf8(&mut [0; 4]) as &str)?;
        }
        Some(Self(ids))
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        text.bytes().map(|byte| self.0[usize::from(byte)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TextUnit, Tokenizer};
    use super::*;
    use proptest::prelude::*;

    fn general() -> (tokenizers::Tokenizer, ByteIds) {
        let json = Tokenizer::bytes().unwrap().to_json().unwrap();
        let general = tokenizers::Tokenizer::from_bytes(json).unwrap();
        let ids = ByteIds::of(&general, &general.get_vocab(true)).expect("a tokenizer of bytes");
        (general, ids)
    }

    proptest! {
        #[test]
        fn the_short_cut_gives_the_same(text in "\\PC{0,40}[ \\t\\n]{0,3}[a-c' ]{0,20}") {
            let (general, ids) = general();
            let expected = general.encode_fast(text.as_str(), false).unwrap().get_ids().to_vec();
            prop_assert_eq!(ids.encode(&text), expected);
        }
    }

    #[test]
    fn other_tokenizers_go_the_general_way() {
        let mut learner = super::super::Learner::new(&TextUnit::BytePair { vocabulary: 262 });
        learner.learn("aaaa").unwrap();
        let json = learner.finish().unwrap().to_json().unwrap();
        let pairs = tokenizers::Tokenizer::from_bytes(json).unwrap();
        assert!(ByteIds::of(&pairs, &pairs.get_vocab(true)).is_none());
    }
}

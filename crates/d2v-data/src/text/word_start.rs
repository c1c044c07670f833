//! Where words begin in a row of tokens, for hiding whole words.

use super::specials::Specials;
use std::collections::HashMap;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::ModelWrapper;

/// For each token of a vocabulary what a word boundary is told by.
pub(super) struct WordEdges {
    of_token: Vec<Edge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// A special token, or a token that always is a whole word.
    Alone,
    /// Begins a word whatever stands before it, and more may follow.
    Begins,
    /// A piece of text that begins or ends with white space, or not.
    Text { space_first: bool, space_last: bool },
}

/// How the tokens of a vocabulary show white space.
enum Spelling<'a> {
    /// Every token is a word.
    Words,
    /// Tokens that continue a word have this in front, as in BERT.
    Continued(&'a str),
    /// Bytes are written as printable characters, as in GPT-2.
    Bytes,
    /// As it is, or as U+2581, as in SentencePiece.
    Plain,
}

impl WordEdges {
    pub(super) fn new(
        tokenizer: &tokenizers::Tokenizer,
        vocabulary: &HashMap<String, u32>,
        size: usize,
        specials: Specials,
    ) -> Self {
        let spelling = match (tokenizer.get_model(), tokenizer.get_decoder()) {
            (ModelWrapper::WordLevel(_), _) => Spelling::Words,
            (ModelWrapper::WordPiece(model), _) => Spelling::Continued(&model.continuing_subword_prefix),
            (_, Some(DecoderWrapper::ByteLevel(_))) => Spelling::Bytes,
            _ => Spelling::Plain,
        };
        let mut of_token = vec![Edge::Text { space_first: false, space_last: false }; size];
        for (token, &id) in vocabulary {
            of_token[id as usize] = spelling.edge(token);
        }
        let Specials { bos, pad, eos, unk: _, mask } = specials;
        for id in [bos, pad, eos, mask] {
            of_token[id as usize] = Edge::Alone;
        }
        Self { of_token }
    }

    pub(super) fn starts(&self, ids: &[u32]) -> Vec<bool> {
        let mut previous = Edge::Alone;
        ids.iter()
            .map(|&id| {
                let edge = self.of_token.get(id as usize).copied().unwrap_or(Edge::Alone);
                let begins = match (previous, edge) {
                    (Edge::Alone, _) | (_, Edge::Alone | Edge::Begins) => true,
                    // Space of its own stands in front of a word and belongs to it.
                    (Edge::Text { space_last, .. }, Edge::Text { space_first, .. }) => {
                        space_first && !space_last
                    }
                    (Edge::Begins, Edge::Text { space_first, .. }) => space_first,
                };
                previous = edge;
                begins
            })
            .collect()
    }
}

impl Spelling<'_> {
    fn edge(&self, token: &str) -> Edge {
        let text = |is_space: fn(char) -> bool| Edge::Text {
            space_first: token.starts_with(is_space),
            space_last: token.ends_with(is_space),
        };
        match self {
            Self::Words => Edge::Alone,
            Self::Continued(prefix) if token.starts_with(prefix) => text(|_| false),
            Self::Continued(_) => Edge::Begins,
            // GPT-2 writes byte b of the unprintable ones as U+0100 + its rank; tab to carriage return and space are
            // ranks 9 to 13 and 32.
            Self::Bytes => text(|c| matches!(c, '\u{109}'..='\u{10d}' | '\u{120}')),
            Self::Plain => text(|c| c.is_whitespace() || c == '\u{2581}'),
        }
    }
}

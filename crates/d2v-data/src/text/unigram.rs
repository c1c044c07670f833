//! Training of unigram pieces, made a function of the text alone.

use super::specials::SPECIAL_NAMES;
use super::train::single_threaded;
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};

/// At most this many different words are learned from, the most frequent ones: the trainer's memory grows with them.
const MAX_WORDS: usize = 2_000_000;

/// Steps of fitting before each time that pieces are dropped. The trainer begins with far too much weight on single
/// characters, and at its own 2 steps frequent short words are lost: with 8,192 pieces, WikiText-2 then has 7 % more
/// tokens than with 8.
const FITTING_STEPS: u32 = 8;

/// Pieces with their log probabilities, the special tokens without `<mask>` first, at most `vocabulary` in all.
///
/// The tokenizers crate keeps every character of the text as a piece and gives those that its fit dropped scores in
/// the order of a hash map, which changes from run to run; here they get the same scores in the order of characters.
pub(super) fn train(words: BTreeMap<String, u64>, vocabulary: usize) -> Result<Vec<(String, f64)>, String> {
    let sentences = sentences(words, vocabulary / 2);
    if sentences.is_empty() {
        return Err("there is no text to learn from".into());
    }
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .n_sub_iterations(FITTING_STEPS)
        .vocab_size(u32::try_from(vocabulary - 4).map_err(|error| error.to_string())?)
        .build()
        .map_err(|error| error.to_string())?;
    let mut model = Unigram::default();
    single_threaded(|| trainer.do_train(sentences, &mut model))?;
    let specials = SPECIAL_NAMES[..4].iter().map(|&name| (name.to_owned(), 0.0));
    Ok(specials.chain(in_fixed_order(model.iter().cloned().collect())).collect())
}

/// The words to learn from, sorted, those with rare characters left out: at most `max_chars` different ones remain,
/// as each will take a place in the vocabulary.
fn sentences(words: BTreeMap<String, u64>, max_chars: usize) -> Vec<(String, u32)> {
    let mut chars: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in &words {
        for c in word.chars() {
            *chars.entry(c).or_default() += count;
        }
    }
    let mut by_count: Vec<(char, u64)> = chars.into_iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    // The trainer separates words by NUL.
    let kept: BTreeSet<char> =
        by_count.into_iter().map(|(c, _)| c).filter(|&c| c != '\0').take(max_chars).collect();
    let mut words: Vec<(String, u64)> =
        words.into_iter().filter(|(word, _)| word.chars().all(|c| kept.contains(&c))).collect();
    if words.len() > MAX_WORDS {
        words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        words.truncate(MAX_WORDS);
        words.sort();
    }
    words.into_iter().map(|(word, count)| (word, u32::try_from(count).unwrap_or(u32::MAX))).collect()
}

fn in_fixed_order(mut pieces: Vec<(String, f64)>) -> Vec<(String, f64)> {
    // What the trainer gives to dropped characters: the least score, then 0.0001 more for each.
    let least = pieces.iter().map(|&(_, score)| score).fold(f64::INFINITY, f64::min);
    let step_of = |score: f64| {
        let steps = (score - least) / 0.0001;
        ((steps - steps.round()).abs() < 1e-6).then_some(steps)
    };
    let dropped =
        |(piece, score): &(String, f64)| piece.chars().nth(1).is_none() && step_of(*score).is_some();
    let mut of_dropped: Vec<(String, f64)> = pieces.iter().filter(|piece| dropped(piece)).cloned().collect();
    let mut scores: Vec<f64> = of_dropped.iter().map(|&(_, score)| score).collect();
    scores.sort_by(f64::total_cmp);
    of_dropped.sort_by(|a, b| a.0.cmp(&b.0));
    pieces.retain(|piece| !dropped(piece));
    pieces.extend(of_dropped.into_iter().map(|(piece, _)| piece).zip(scores));
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_are_pieces_and_the_order_is_fixed() {
        let words = || {
            let words =
                [("\u{2581}sea", 50), ("\u{2581}seal", 3), ("\u{2581}ship", 40), ("\u{2581}shape", 4)];
            words.into_iter().map(|(word, count)| (word.to_owned(), count)).collect::<BTreeMap<String, u64>>()
        };
        let pieces = train(words(), 40).unwrap();
        let names: Vec<&str> = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
        assert_eq!(names[..4], SPECIAL_NAMES[..4]);
        assert!(names.contains(&"\u{2581}sea"), "{names:?}");
        assert!("\u{2581}sealhip".chars().all(|c| names.contains(&c.to_string().as_str())), "{names:?}");
        assert!(pieces[4..].is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
        for _ in 0..5 {
            assert_eq!(train(words(), 40).unwrap(), pieces);
        }
    }

    #[test]
    fn rare_characters_are_left_out_where_there_is_no_room() {
        let words = ('a'..='z').map(|c| (format!("{c}{c}"), 1 + u64::from(c == 'q'))).collect();
        let pieces = train(words, 15).unwrap();
        assert!(pieces.len() <= 15, "{pieces:?}");
        assert!(pieces.iter().any(|(piece, _)| piece == "q"), "{pieces:?}");
    }
}

//! The language of the built-in text: words, agreement, brackets, and what a text is about.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// Fields of meaning; a noun, a verb or an adjective belongs to one.
pub(super) const TOPICS: usize = 4;
const NOUNS: usize = 20;
const VERBS: usize = 10;
const ADJECTIVES: usize = 10;
/// How often the object's topic is any topic instead of the one that the class tells.
const NOISE: f64 = 0.1;

/// The words of the language.
#[derive(Debug, Clone)]
pub(super) struct Lexicon {
    /// By topic; even ones are of the first gender, odd ones of the second.
    nouns: Vec<Vec<String>>,
    /// By topic; stems, to which the ending for the subject's gender is added.
    verbs: Vec<Vec<String>>,
    /// By topic.
    adjectives: Vec<Vec<String>>,
}

/// A gender's article, ending of verbs, and pronoun.
struct Gender {
    article: &'static str,
    ending: &'static str,
    pronoun: &'static str,
}

const GENDERS: [Gender; 2] = [
    Gender { article: "lo", ending: "an", pronoun: "eno" },
    Gender { article: "la", ending: "is", pronoun: "esa" },
];
const PREPOSITIONS: [&str; 3] = ["nu", "ob", "ti"];
const BRACKETS: [(&str, &str); 2] = [("(", ")"), ("[", "]")];

/// A noun by topic and place.
#[derive(Clone, Copy)]
struct Noun {
    topic: usize,
    place: usize,
}

impl Lexicon {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let fixed = GENDERS.iter().flat_map(|gender| [gender.article, gender.pronoun]);
        let mut taken: BTreeSet<String> = fixed.chain(PREPOSITIONS).map(str::to_owned).collect();
        let mut words = |count: usize, rng: &mut ChaCha8Rng| -> Vec<Vec<String>> {
            (0..TOPICS).map(|_| (0..count).map(|_| new_word(&mut taken, rng)).collect()).collect()
        };
        Self { nouns: words(NOUNS, rng), verbs: words(VERBS, rng), adjectives: words(ADJECTIVES, rng) }
    }

    /// A sentence whose object is `shift` topics after its subject:
    /// subject, perhaps a place, verb, object, perhaps a clause with the subject's pronoun.
    ///
    /// Articles, endings of verbs and pronouns follow the gender of their noun, over whatever stands between. Verbs and
    /// adjectives are of the topic of their noun. The subject's topic is even over all topics, and so, whatever the
    /// shift, is the object's.
    pub(super) fn sentence(&self, shift: usize, rng: &mut ChaCha8Rng) -> String {
        let mut words = Vec::new();
        let subject = Noun { topic: rng.random_range(0..TOPICS), place: frequent(NOUNS, rng) };
        let object_topic = if rng.random_bool(NOISE) {
            rng.random_range(0..TOPICS)
        } else {
            (subject.topic + shift) % TOPICS
        };
        self.noun(subject, true, &mut words, rng);
        if rng.random_bool(0.3) {
            words.push(PREPOSITIONS[rng.random_range(0..PREPOSITIONS.len())].to_owned());
            let place = Noun { topic: rng.random_range(0..TOPICS), place: frequent(NOUNS, rng) };
            self.noun(place, false, &mut words, rng);
        }
        words.push(self.verb(subject, rng));
        let object = Noun { topic: object_topic, place: frequent(NOUNS, rng) };
        self.noun(object, false, &mut words, rng);
        if rng.random_bool(0.3) {
            words.push(",".to_owned());
            words.push(gender_of(subject).pronoun.to_owned());
            words.push(self.verb(subject, rng));
        }
        words.push(".".to_owned());
        words.join(" ")
    }

    fn noun(&self, noun: Noun, may_be_described: bool, words: &mut Vec<String>, rng: &mut ChaCha8Rng) {
        words.push(gender_of(noun).article.to_owned());
        words.push(self.nouns[noun.topic][noun.place].clone());
        if may_be_described && rng.random_bool(0.3) {
            self.description(noun.topic, 2, words, rng);
        }
    }

    /// Adjectives in brackets, which may hold others: every bracket is closed by its own kind.
    fn description(&self, topic: usize, depth: usize, words: &mut Vec<String>, rng: &mut ChaCha8Rng) {
        let (open, close) = BRACKETS[rng.random_range(0..BRACKETS.len())];
        words.push(open.to_owned());
        words.push(self.adjectives[topic][frequent(ADJECTIVES, rng)].clone());
        if depth > 0 && rng.random_bool(0.4) {
            self.description(topic, depth - 1, words, rng);
        }
        words.push(close.to_owned());
    }

    fn verb(&self, subject: Noun, rng: &mut ChaCha8Rng) -> String {
        let stem = &self.verbs[subject.topic][frequent(VERBS, rng)];
        format!("{stem}{}", gender_of(subject).ending)
    }
}

fn gender_of(noun: Noun) -> &'static Gender {
    &GENDERS[noun.place % 2]
}

/// A place below `count`; the first ones are more frequent, as in any language.
fn frequent(count: usize, rng: &mut ChaCha8Rng) -> usize {
    let uniform: f64 = rng.random();
    ((uniform * uniform * count as f64) as usize).min(count - 1)
}

/// A word of two or three syllables that does not exist yet.
fn new_word(taken: &mut BTreeSet<String>, rng: &mut ChaCha8Rng) -> String {
    const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    loop {
        let mut word = String::new();
        for _ in 0..2 + rng.next_u32() % 2 {
            word.push(char::from(CONSONANTS[rng.random_range(0..CONSONANTS.len())]));
            word.push(char::from(VOWELS[rng.random_range(0..VOWELS.len())]));
        }
        if taken.insert(word.clone()) {
            return word;
        }
    }
}

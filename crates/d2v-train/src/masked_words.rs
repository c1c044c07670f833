//! Text with its mask: what the student reads, piece by piece, for the terminal and the report.

use crate::mask_text::MaskGlyphs;
use d2v_data::Tokenizer;
use d2v_masking::Fate;

/// A stretch of text that met one fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// White space before it.
    pub lead: String,
    /// The text itself, control characters as their pictures.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
    /// What the student reads instead, where it was replaced by something else.
    pub shown: String,
}

/// One sample of text with what is hidden of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedWords {
    pieces: Vec<Piece>,
}

impl MaskedWords {
    /// Text of token ids of which those with `chosen` true were hidden, `student` being what the student reads at each.
    ///
    /// Tokens that were not chosen are decoded together, the others one by one: a token of part of a character becomes
    /// U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's decoder refuses.
    ///
    /// # Panics
    /// If the three differ in length.
    pub fn new(
        tokenizer: &Tokenizer,
        ids: &[u32],
        student: &[u32],
        chosen: &[bool],
    ) -> Result<Self, d2v_data::Error> {
        assert!(ids.len() == student.len() && ids.len() == chosen.len(), "one of each per token");
        let mask = tokenizer.specials().mask;
        let fate = |at: usize| match student[at] {
            _ if !chosen[at] => Fate::Untouched,
            id if id == mask => Fate::Masked,
            id if id == ids[at] => Fate::Kept,
            _ => Fate::Replaced,
        };
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < ids.len() {
            let together =
                if chosen[start] { 1 } else { chosen[start..].iter().take_while(|&&c| !c).count() };
            let end = start + together;
            let mut lead = match start.checked_sub(1) {
                Some(before) => between(tokenizer, ids[before], ids[start])?,
                None => String::new(),
            };
            let text = tokenizer.text(&ids[start..end])?;
            // White space of a chosen token stands before its marks, unless it is all there is.
            let bare = if text.trim().is_empty() { &text } else { text.trim_start() };
            lead.push_str(&text[..text.len() - bare.len()]);
            let fate = fate(start);
            let shown = match fate {
                Fate::Replaced => {
                    let other = tokenizer.text(&student[start..end])?;
                    visible(if other.trim().is_empty() { &other } else { other.trim() })
                }
                Fate::Untouched | Fate::Masked | Fate::Kept => String::new(),
            };
            pieces.push(Piece { lead: visible(&lead), text: visible(bare), fate, shown });
            start = end;
        }
        Ok(Self { pieces })
    }

    /// The text in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text as one line, with the marks that [`legend`](Self::legend) explains: hidden characters are filled in.
    pub fn line(&self, glyphs: MaskGlyphs) -> String {
        let (fill, [open, close], [kept_open, kept_close]) = marks(glyphs);
        let mut line = String::new();
        for Piece { lead, text, fate, shown } in &self.pieces {
            line.push_str(lead);
            match fate {
                Fate::Untouched => line.push_str(text),
                // At least one mark, for tokens without text.
                Fate::Masked => line.extend(std::iter::repeat_n(fill, text.chars().count().max(1))),
                Fate::Replaced => line.push_str(&format!("{open}{shown}{close}")),
                Fate::Kept => line.push_str(&format!("{kept_open}{text}{kept_close}")),
            }
        }
        line
    }

    /// What the marks mean that occur in some texts.
    pub fn legend<'a>(texts: impl IntoIterator<Item = &'a Self>, glyphs: MaskGlyphs) -> String {
        let (fill, [open, close], [kept_open, kept_close]) = marks(glyphs);
        let fates: Vec<Fate> =
            texts.into_iter().flat_map(|text| &text.pieces).map(|piece| piece.fate).collect();
        let meanings = [
            (Fate::Masked, format!("{fill}{fill}{fill} hidden")),
            (Fate::Replaced, format!("{open}word{close} another in its place")),
            (Fate::Kept, format!("{kept_open}word{kept_close} left as it is")),
        ];
        let met = meanings.into_iter().filter(|(fate, _)| fates.contains(fate));
        met.map(|(_, meaning)| meaning).collect::<Vec<_>>().join(", ")
    }
}

/// What fills hidden characters, and what stands around replaced and kept words.
fn marks(glyphs: MaskGlyphs) -> (char, [char; 2], [char; 2]) {
    match glyphs {
        MaskGlyphs::Blocks => ('▒', ['«', '»'], ['‹', '›']),
        MaskGlyphs::Ascii => ('#', ['{', '}'], ['[', ']']),
    }
}

/// What the decoder puts between two tokens that it does not put beside either alone.
fn between(tokenizer: &Tokenizer, left: u32, right: u32) -> Result<String, d2v_data::Error> {
    let both = tokenizer.text(&[left, right])?;
    let apart = format!("{} {}", tokenizer.text(&[left])?, tokenizer.text(&[right])?);
    Ok(if both == apart { " ".to_owned() } else { String::new() })
}

/// Control characters as their pictures: a text must neither steer a terminal nor break its line.
fn visible(text: &str) -> String {
    let picture = |character: char| match u32::from(character) {
        0x7f => '\u{2421}',
        code if code < 0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    text.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_data::{SyntheticText, SyntheticTextConfig, TextUnit};

    fn tokenizer(unit: &TextUnit) -> Tokenizer {
        SyntheticText::learn_tokenizer(SyntheticTextConfig::default(), unit).unwrap()
    }

    /// The ids of a text between `<s>` and `</s>`.
    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let specials = tokenizer.specials();
        [vec![specials.bos], tokenizer.encode(text).unwrap(), vec![specials.eos]].concat()
    }

    /// The words of the built-in language that every tokenizer here knows.
    const TEXT: &str = "lo nu la , eno";

    #[track_caller]
    fn check_untouched(unit: &TextUnit) {
        let tokenizer = tokenizer(unit);
        let ids = ids(&tokenizer, TEXT);
        let whole = tokenizer.text(&ids).unwrap();
        let none = MaskedWords::new(&tokenizer, &ids, &ids, &vec![false; ids.len()]).unwrap();
        assert_eq!(none.line(MaskGlyphs::Ascii), whole, "{unit:?}");
        // All chosen and kept: the same text, but for brackets around each token.
        let kept = MaskedWords::new(&tokenizer, &ids, &ids, &vec![true; ids.len()]).unwrap();
        let bare: String = kept.line(MaskGlyphs::Ascii).replace(['[', ']'], "");
        assert_eq!(bare, whole, "{unit:?}");
        // Every second one hidden: nothing moves.
        let chosen: Vec<bool> = (0..ids.len()).map(|at| at % 2 == 1).collect();
        let mask = tokenizer.specials().mask;
        let student: Vec<u32> = ids.iter().zip(&chosen).map(|(&id, &c)| if c { mask } else { id }).collect();
        let line = MaskedWords::new(&tokenizer, &ids, &student, &chosen).unwrap().line(MaskGlyphs::Ascii);
        assert_eq!(line.chars().count(), whole.chars().count(), "{unit:?}: {line}");
        for (shown, own) in line.chars().zip(whole.chars()) {
            assert!(shown == own || shown == '#', "{unit:?}: {line}");
        }
        assert!(line.contains('#'), "{unit:?}: {line}");
    }

    #[test]
    fn what_is_not_chosen_stands_as_it_is_whatever_a_token_is() {
        check_untouched(&TextUnit::Bytes {});
        check_untouched(&TextUnit::Characters { vocabulary: 60 });
        check_untouched(&TextUnit::Words { vocabulary: 1_000 });
        check_untouched(&TextUnit::BytePair { vocabulary: 400 });
        check_untouched(&TextUnit::Unigram { vocabulary: 200 });
    }

    #[test]
    fn each_fate_has_its_mark() {
        let tokenizer = tokenizer(&TextUnit::Words { vocabulary: 1_000 });
        let ids = ids(&tokenizer, TEXT);
        let mut student = ids.clone();
        student[2] = tokenizer.specials().mask;
        student[3] = ids[1];
        let chosen: Vec<bool> = (0..ids.len()).map(|at| (2..5).contains(&at)).collect();
        let text = MaskedWords::new(&tokenizer, &ids, &student, &chosen).unwrap();
        assert_eq!(text.line(MaskGlyphs::Ascii), "<s> lo ## {lo} [,] eno </s>");
        assert_eq!(text.line(MaskGlyphs::Blocks), "<s> lo ▒▒ «lo» ‹,› eno </s>");
        let legend = MaskedWords::legend([&text], MaskGlyphs::Ascii);
        assert!(legend.starts_with("### hidden, {word} another"), "{legend}");
        let nothing = MaskedWords::new(&tokenizer, &ids, &ids, &vec![false; ids.len()]).unwrap();
        assert_eq!(MaskedWords::legend([&nothing], MaskGlyphs::Ascii), "");
    }

    #[test]
    fn text_does_not_steer_the_terminal() {
        let tokenizer = tokenizer(&TextUnit::Bytes {});
        let ids = tokenizer.encode("a\u{1b}[31m\n\u{7f}é").unwrap();
        let mut chosen = vec![false; ids.len()];
        let line = |student: &[u32], chosen: &[bool]| {
            MaskedWords::new(&tokenizer, &ids, student, chosen).unwrap().line(MaskGlyphs::Blocks)
        };
        assert_eq!(line(&ids, &chosen), "a␛[31m␊␡é");
        // Half of the last character, and the line feed.
        let mut student = ids.clone();
        for at in [6, ids.len() - 1] {
            (student[at], chosen[at]) = (tokenizer.specials().mask, true);
        }
        assert_eq!(line(&student, &chosen), "a␛[31m▒␡\u{fffd}▒");
    }
}

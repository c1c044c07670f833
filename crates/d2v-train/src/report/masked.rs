//! The part of the page that shows samples of the data and what is hidden of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use d2v_masking::Fate;
use maud::{Markup, html};

use super::{MaskedSamples, Picture};
use crate::masked_words::{MaskedWords, Piece};

/// The section, or nothing where there are no samples.
pub(super) fn section(samples: Option<&MaskedSamples>) -> Markup {
    let Some(samples) = samples else { return html! {} };
    let (heading, lead) = match samples {
        MaskedSamples::Pictures(_) => (
            "Images and their masks",
            "The image, what is hidden from the student (hatched), and what remains for it.",
        ),
        MaskedSamples::Sounds(_) => (
            "Sounds and their masks",
            "The waveform with what is hidden from the student shaded; below it the frames that the network sees, and \
             seconds.",
        ),
        MaskedSamples::Words { .. } => (
            "Text and its masks",
            "What is hidden from the student, which has to predict what the teacher makes of it.",
        ),
    };
    html! {
        section {
            h2 { (heading) }
            p.lead { (lead) }
            @match samples {
                MaskedSamples::Pictures(picture) => { (figure(picture, "picture pixels")) }
                MaskedSamples::Sounds(picture) => { (figure(picture, "picture")) }
                MaskedSamples::Words { texts, caption } => { (words(texts, caption)) }
            }
        }
    }
}

fn figure(picture: &Picture, class: &str) -> Markup {
    html! {
        figure class={ "card " (class) } {
            img src={ "data:image/png;base64," (STANDARD.encode(&picture.png)) } alt=(picture.caption);
            figcaption { (picture.caption) }
        }
    }
}

fn words(texts: &[MaskedWords], caption: &str) -> Markup {
    let met = |fate: Fate| texts.iter().flat_map(MaskedWords::pieces).any(|piece| piece.fate == fate);
    html! {
        figure.card.words {
            p.legend {
                @if met(Fate::Masked) { span.entry { mark.hidden { "word" } "hidden" } }
                @if met(Fate::Replaced) { span.entry { mark.replaced { s { "word" } " other" } "another in its place" } }
                @if met(Fate::Kept) { span.entry { mark.kept { "word" } "left as it is" } }
            }
            @for text in texts { p.text { @for piece in text.pieces() { (marked(piece)) } } }
            figcaption { (caption) }
        }
    }
}

fn marked(Piece { lead, text, fate, shown }: &Piece) -> Markup {
    html! {
        (lead)
        @match fate {
            Fate::Untouched => { (text) }
            Fate::Masked => { mark.hidden { (text) } }
            Fate::Replaced => { mark.replaced { s { (text) } " " (shown) } }
            Fate::Kept => { mark.kept { (text) } }
        }
    }
}

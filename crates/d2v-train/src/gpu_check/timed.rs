//! Which steps are timed.

use crate::recipes::{LearnerConfig, Modality};
use d2v_transformer::Size;

/// The recipe of a modality, and the batches it is timed at.
#[derive(Debug, Clone)]
pub struct Timed {
    /// What the network is for.
    pub modality: Modality,
    /// The recipe.
    pub recipe: LearnerConfig,
    /// Batch sizes, growing; those that would not fit into memory are left out.
    pub batches: Vec<usize>,
}

const ALL: [Modality; 3] = [Modality::Image, Modality::Audio, Modality::Text];

impl Timed {
    /// Base of every modality, at batches that fill a card: a sound of 5 s and 512 tokens take two and four times the
    /// memory of a picture.
    pub fn base() -> Vec<Timed> {
        let batches = |modality| match modality {
            Modality::Image => vec![8, 32, 128, 256, 512],
            Modality::Audio => vec![4, 16, 64, 128, 256],
            Modality::Text => vec![4, 16, 64, 128],
        };
        let one = |modality| Timed {
            modality,
            recipe: LearnerConfig::of(modality, Size::Base),
            batches: batches(modality),
        };
        ALL.map(one).into()
    }

    /// Networks of a few thousand parameters, for a rehearsal on the CPU.
    pub fn rehearsal() -> Vec<Timed> {
        let one = |modality| Timed {
            modality,
            recipe: LearnerConfig::of(modality, Size::Tiny).shrunk(),
            batches: vec![1, 2],
        };
        ALL.map(one).into()
    }
}

//! What a front end is.

use crate::Result;
use d2v_transformer::{Pass, Tokens};
use tch::Tensor;

/// Positions hidden from the student.
#[derive(Debug, Clone, Copy)]
pub struct Hidden<'a> {
    /// Bool `[B, L]`, true = hidden.
    pub mask_bl: &'a Tensor,
}

/// The front end of a modality, in two stages.
///
/// The split is where student and teacher may part: the teacher can take the student's features (detached), which
/// hold nothing of the mask, and only the second stage is its own.
pub trait ModalityEncoder {
    /// Raw input to local features, before positions and masking: pictures `[B, C, H, W]` to `[B, L, D]`, say.
    ///
    /// # Errors
    /// If the input's shape does not fit.
    fn features(&self, input: &Tensor) -> Result<Tensor>;

    /// Local features to tokens: hides what is `hidden`, adds positions and extra tokens.
    ///
    /// `padding_bl`, bool, is true where the input is not real.
    ///
    /// # Errors
    /// If shapes do not fit each other.
    fn tokens(
        &self,
        features: &Tensor,
        hidden: Option<Hidden<'_>>,
        padding_bl: Option<&Tensor>,
        pass: Pass,
    ) -> Result<Tokens>;
}

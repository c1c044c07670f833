//! What a step is given: a batch on its device, with what of it the student does not see.

use crate::Result;
use d2v_masking::Mask;
use tch::Tensor;

/// A batch on the device, with the positions hidden from the student.
pub struct MaskedBatch {
    /// Raw input as the front end takes it.
    pub input: Tensor,
    /// What the student gets instead, where hiding is not all that was done to it; it shows already what is hidden.
    pub student_input: Option<Tensor>,
    /// Bool `[B, L]`, true = hidden.
    pub mask_bl: Tensor,
    /// Bool `[B, L]`, true = not real; absent: all is real.
    pub padding_bl: Option<Tensor>,
    /// Positions whose targets are predicted, int64 indices into the `B·L` positions, `[M]`: those that are hidden.
    pub hidden_m: Tensor,
}

impl MaskedBatch {
    /// Puts a mask drawn on the host beside its input.
    pub fn new(input: Tensor, mask: &Mask, padding_bl: Option<Tensor>) -> MaskedBatch {
        let device = input.device();
        let mask_bl = Tensor::from_slice(mask.as_slice()).view([mask.rows() as i64, mask.len() as i64]);
        let hidden_m = Tensor::from_slice(&mask.flat_hidden());
        MaskedBatch {
            input,
            student_input: None,
            mask_bl: mask_bl.to_device(device),
            padding_bl,
            hidden_m: hidden_m.to_device(device),
        }
    }

    /// The same batch of other tensors, each made from its own by `place`: on another device, say.
    ///
    /// # Errors
    /// Those of `place`.
    pub fn try_map(&self, place: impl Fn(&Tensor) -> d2v_torch::Result<Tensor>) -> Result<MaskedBatch> {
        let optional = |tensor: &Option<Tensor>| tensor.as_ref().map(&place).transpose();
        Ok(MaskedBatch {
            input: place(&self.input)?,
            student_input: optional(&self.student_input)?,
            mask_bl: place(&self.mask_bl)?,
            padding_bl: optional(&self.padding_bl)?,
            hidden_m: place(&self.hidden_m)?,
        })
    }

    /// Number of predicted positions.
    pub fn hidden(&self) -> i64 {
        self.hidden_m.size()[0]
    }

    /// The hidden positions as indices into `B·(extra + L)` tokens, of which `extra` stand in front of each sample's.
    pub(crate) fn token_rows(&self, extra: i64) -> Tensor {
        if extra == 0 {
            return self.hidden_m.shallow_clone();
        }
        let sample_m = self.hidden_m.divide_scalar_mode(self.mask_bl.size()[1], "floor");
        &self.hidden_m + (sample_m + 1) * extra
    }
}

//! Which of libtorch's kernels for scaled dot-product attention may be used.
//!
//! libtorch takes the fastest that suits the tensors: flash attention without a bias, the memory-efficient kernel with
//! one, which pads it where rows are not aligned. To compare them, or to rule one out, [`with`] allows one alone.

use crate::ffi::{self, check};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Flash attention: no bias on CUDA; on the CPU one that does not learn.
    Flash,
    /// The memory-efficient kernel: with bias; CUDA alone.
    Efficient,
    /// That of cuDNN; CUDA alone.
    Cudnn,
    /// Products and softmax one by one; everywhere.
    Math,
}

impl Kernel {
    /// Its bit for `d2v_sdpa_allow`.
    fn bit(self) -> i32 {
        match self {
            Kernel::Flash => 1,
            Kernel::Efficient => 2,
            Kernel::Cudnn => 4,
            Kernel::Math => 8,
        }
    }
}

struct Restore(i32);

impl Drop for Restore {
    fn drop(&mut self) {
        // What was allowed a moment ago is so again; a drop has nobody to tell.
        let _ = allow(self.0);
    }
}

fn allow(bits: i32) -> Result<i32> {
    let mut before = 0;
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the out argument is live for the length of the call.
    check(unsafe { ffi::d2v_sdpa_allow(bits, &mut before) })?;
    Ok(before)
}

/// Runs `body` while this kernel alone is allowed, in all threads of the process. Where it does not suit the tensors,
/// libtorch's attention is an error.
///
/// # Errors
/// If libtorch refuses.
pub fn with<T>(kernel: Kernel, body: impl FnOnce() -> T) -> Result<T> {
    let restore = Restore(allow(kernel.bit())?);
    let out = body();
    drop(restore);
    Ok(out)
}

/// The kernel that libtorch would take now for these `[B, H, L, E]`.
///
/// # Errors
/// If none is allowed that suits them.
pub fn chosen(q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>) -> Result<Kernel> {
    let bias = bias.map(|bias| bias.to_kind(q.kind()));
    // at::SDPBackend, fixed by libtorch's ABI.
    match Tensor::f_internal_fused_sdp_choice(q, k, v, bias, 0.0, false, None, false)? {
        0 => Ok(Kernel::Math),
        1 => Ok(Kernel::Flash),
        2 => Ok(Kernel::Efficient),
        3 => Ok(Kernel::Cudnn),
        other => {
            let kind: Kind = q.kind();
            Err(Error::Libtorch(format!(
                "no allowed attention kernel suits {kind:?} {:?} ({other})",
                q.size()
            )))
        }
    }
}

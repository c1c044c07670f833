//! Process-wide switches of libtorch.

use crate::Result;
use crate::ffi::{self, check};

/// The version of the libtorch whose headers this program was compiled with.
pub fn libtorch_version() -> &'static str {
    #[expect(unsafe_code, reason = "reads a constant of d2v_native.cpp")]
    // SAFETY: the function returns a NUL-terminated string literal.
    let text = unsafe { std::ffi::CStr::from_ptr(ffi::d2v_libtorch_version()) };
    text.to_str().unwrap_or("unknown")
}

/// Asks for deterministic kernels; where CUDA has none, libtorch warns and goes on.
///
/// # Errors
/// If libtorch refuses.
pub fn set_deterministic(on: bool) -> Result<()> {
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: takes a plain flag.
    check(unsafe { ffi::d2v_set_deterministic(on) })
}

/// Lets f32 matrix products on CUDA run in TF32 (10 bits of mantissa), or forbids it.
///
/// # Errors
/// If libtorch refuses.
pub fn set_tf32(on: bool) -> Result<()> {
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: takes a plain flag.
    check(unsafe { ffi::d2v_set_tf32(on) })
}

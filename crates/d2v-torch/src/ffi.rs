//! The boundary to `native/`: declarations, and messages turned into errors.

use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use tch::Tensor;

/// Runs a closure on `count` tensors and writes a new one to `out`, or returns a message.
pub(crate) type RunBody = unsafe extern "C" fn(
    closure: *mut c_void,
    inputs: *const *const c_void,
    count: usize,
    out: *mut *mut c_void,
) -> *mut c_char;

#[expect(unsafe_code, reason = "declarations of the C++ functions compiled by build.rs")]
unsafe extern "C" {
    pub(crate) fn d2v_libtorch_version() -> *const c_char;
    pub(crate) fn d2v_free_message(message: *mut c_char);
    pub(crate) fn d2v_fused_adamw(
        params: *const *const c_void,
        grads: *const *const c_void,
        exp_avgs: *const *const c_void,
        exp_avg_sqs: *const *const c_void,
        count: usize,
        step: *const c_void,
        divisor: *const c_void,
        skip: *const c_void,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
    pub(crate) fn d2v_foreach_lerp(
        tensors: *const *const c_void,
        other: *const *const c_void,
        count: usize,
        weight: f64,
    ) -> *mut c_char;
    pub(crate) fn d2v_foreach_lerp_unless(
        tensors: *const *const c_void,
        other: *const *const c_void,
        count: usize,
        weight: f64,
        skip: *const c_void,
        on_device: bool,
    ) -> *mut c_char;
    pub(crate) fn d2v_foreach_copy(
        tensors: *const *const c_void,
        source: *const *const c_void,
        count: usize,
    ) -> *mut c_char;
    pub(crate) fn d2v_foreach_mul(tensors: *const *const c_void, count: usize, factor: f64) -> *mut c_char;
    pub(crate) fn d2v_foreach_zero(tensors: *const *const c_void, count: usize) -> *mut c_char;
    pub(crate) fn d2v_clear_grads(tensors: *const *const c_void, count: usize) -> *mut c_char;
    pub(crate) fn d2v_global_norm(
        tensors: *const *const c_void,
        count: usize,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn d2v_autocast_enter(
        device_type: c_int,
        scalar_type: c_int,
        was_enabled: *mut bool,
        previous_type: *mut c_int,
    ) -> *mut c_char;
    pub(crate) fn d2v_autocast_state(device_type: c_int, enabled: *mut bool, kind: *mut c_int)
    -> *mut c_char;
    pub(crate) fn d2v_autocast_leave(
        device_type: c_int,
        was_enabled: bool,
        previous_type: c_int,
    ) -> *mut c_char;
    pub(crate) fn d2v_set_deterministic(on: bool) -> *mut c_char;
    pub(crate) fn d2v_sdpa_allow(kernels: c_int, before: *mut c_int) -> *mut c_char;
    pub(crate) fn d2v_set_tf32(on: bool) -> *mut c_char;
    pub(crate) fn d2v_cuda_memory(
        device: c_int,
        allocated: *mut i64,
        peak: *mut i64,
        total: *mut i64,
    ) -> *mut c_char;
    pub(crate) fn d2v_cuda_reset_peak(device: c_int) -> *mut c_char;
    pub(crate) fn d2v_linear(
        x: *const c_void,
        w: *const c_void,
        b: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn d2v_feed_forward(
        x: *const c_void,
        w1: *const c_void,
        b1: *const c_void,
        w2: *const c_void,
        b2: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn d2v_attention(
        query: *const c_void,
        key_value: *const c_void,
        bias: *const c_void,
        positions: *const c_void,
        heads: i64,
        dropout: f64,
        key: u64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn d2v_checkpoint(
        inputs: *const *const c_void,
        count: usize,
        closure: *mut c_void,
        run: RunBody,
        drop: unsafe extern "C" fn(closure: *mut c_void),
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub(crate) fn d2v_message(text: *const c_char) -> *mut c_char;
    pub(crate) fn d2v_stream_from_pool(device: c_int, id: *mut i64) -> *mut c_char;
    pub(crate) fn d2v_stream_current(device: c_int, id: *mut i64) -> *mut c_char;
    pub(crate) fn d2v_stream_exchange(device: c_int, id: i64, previous: *mut i64) -> *mut c_char;
    pub(crate) fn d2v_stream_synchronize(device: c_int, id: i64) -> *mut c_char;
    pub(crate) fn d2v_record_stream(tensor: *mut c_void, device: c_int, id: i64) -> *mut c_char;
    pub(crate) fn d2v_event_new(timed: bool, out: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn d2v_event_free(event: *mut c_void);
    pub(crate) fn d2v_event_record(event: *mut c_void, device: c_int, id: i64) -> *mut c_char;
    pub(crate) fn d2v_event_block(event: *mut c_void, device: c_int, id: i64) -> *mut c_char;
    pub(crate) fn d2v_event_done(event: *mut c_void, done: *mut bool) -> *mut c_char;
    pub(crate) fn d2v_event_synchronize(event: *mut c_void) -> *mut c_char;
    pub(crate) fn d2v_event_elapsed_ms(first: *mut c_void, second: *mut c_void, ms: *mut f64) -> *mut c_char;
    pub(crate) fn d2v_inference_enter(guard: *mut *mut c_void) -> *mut c_char;
    pub(crate) fn d2v_inference_leave(guard: *mut c_void);
    pub(crate) fn d2v_cache_cpu_memory() -> bool;
    pub(crate) fn d2v_cpu_memory(live: *mut i64, kept: *mut i64, peak: *mut i64);
    pub(crate) fn d2v_release_cpu_memory();
}

/// Turns the message of a C++ function into a [`Result`] and frees it.
pub(crate) fn check(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "reads and frees a message of d2v_native.cpp")]
    // SAFETY: a non-null message is a NUL-terminated string from strdup, owned by us and freed exactly once here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        d2v_free_message(message);
        text
    };
    Err(Error::Libtorch(text))
}

/// The `at::Tensor*` behind each tensor; valid while `tensors` is borrowed.
pub(crate) fn pointers(tensors: &[Tensor]) -> Vec<*const c_void> {
    tensors.iter().map(pointer).collect()
}

/// The `at::Tensor*` behind a tensor; valid while it is borrowed.
pub(crate) fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

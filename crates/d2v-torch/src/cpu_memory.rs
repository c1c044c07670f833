//! Memory of large CPU tensors, kept for reuse.
//!
//! libtorch gives every freed tensor back to the C library. For large blocks that means either a page fault per 4 KiB
//! at every step, or a heap with holes. [`cache`] puts an allocator in its place that keeps blocks of 256 KiB and more
//! and hands them out again (`native/cpu_cache.cpp`).

use crate::ffi;

/// Bytes in blocks of 256 KiB and more, since [`cache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMemory {
    /// Held by tensors now.
    pub live: i64,
    /// Kept for reuse. A new block is made only within `live + kept <= 1.25 * peak`: older ones give way first.
    pub kept: i64,
    /// Most that tensors held at once, since the last [`release`].
    pub peak: i64,
}

/// Keeps freed memory of large tensors from now on, up to a quarter more than the most that was in use at once.
///
/// Call once at the start of a program. Tensors made before are freed as they were. Returns whether it could be done
/// (Unix only); nothing changes otherwise.
pub fn cache() -> bool {
    #[expect(unsafe_code, reason = "call into cpu_cache.cpp")]
    // SAFETY: registers an object that lives as long as the process; every block carries the function that frees it.
    unsafe {
        ffi::d2v_cache_cpu_memory()
    }
}

/// Figures of the cache; zeros before [`cache`].
pub fn figures() -> CpuMemory {
    let mut memory = CpuMemory { live: 0, kept: 0, peak: 0 };
    #[expect(unsafe_code, reason = "call into cpu_cache.cpp")]
    // SAFETY: the three out arguments are live for the length of the call.
    unsafe {
        ffi::d2v_cpu_memory(&mut memory.live, &mut memory.kept, &mut memory.peak);
    }
    memory
}

/// Gives back all that is kept and starts the peak anew: after a phase whose sizes do not come again.
pub fn release() {
    #[expect(unsafe_code, reason = "call into cpu_cache.cpp")]
    // SAFETY: only blocks that no tensor holds are given back.
    unsafe {
        ffi::d2v_release_cpu_memory();
    }
}

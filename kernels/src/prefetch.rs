//! A hint to the memory system.
//!
//! A fold touches one state value in 64, so it waits for memory, not for arithmetic. Asking for the values of the next chunk
//! while one is changed lets the waits overlap. Nothing depends on the hint; elsewhere than on x86-64 it is not given.

/// Asks for the cache line in which `value` begins.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction; it changes no memory and cannot fault, whatever the address, and the
    // address is that of a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

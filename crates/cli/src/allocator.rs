//! Memory: tensors of the same sizes come and go with every step.

use std::ffi::c_int;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps freed memory for minutes before it goes back to the system, instead of a tenth of a second: the
/// next step needs it again. The system clears fresh pages, which would take a tenth of a step.
pub fn keep_freed_memory() {
    /// `mi_option_purge_delay` in mimalloc's list of options: milliseconds, multiplied by ten for large areas.
    const PURGE_DELAY: c_int = 15;
    // SAFETY: plain data, set before there is a second thread
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 10_000) };
}

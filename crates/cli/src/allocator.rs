//! Memory: tensors of the same sizes come and go with every step.

use std::ffi::c_int;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps freed memory for the next step, which needs it again, instead of giving it back to the system after
/// a moment: the system clears fresh pages, which would take a tenth of a step.
pub fn keep_freed_memory() {
    /// `mi_option_purge_delay` in mimalloc's list of options: milliseconds, or -1 for never.
    const PURGE_DELAY: c_int = 15;
    // SAFETY: plain data, set before there is a second thread
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

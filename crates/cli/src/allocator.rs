//! Memory: tensors of the same sizes come and go with every step.

use std::ffi::c_int;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives freed memory back to the system after a second instead of ten milliseconds: until the next step
/// needs it again. Fresh pages are cleared by the system, which would take a tenth of a step.
pub fn keep_freed_memory() {
    /// `mi_option_purge_delay` in mimalloc's list of options; in milliseconds.
    const PURGE_DELAY: c_int = 15;
    // SAFETY: plain data, set before there is a second thread
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 1000) };
}

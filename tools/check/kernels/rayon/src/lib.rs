//! A pool of two threads, as far as anyone asks.

/// Threads of the pool.
pub fn current_num_threads() -> usize {
    2
}

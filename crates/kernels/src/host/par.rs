//! Splitting work over threads.

use std::ops::Range;

use super::team;

/// Threads that work is split over: as many as those of the current rayon pool.
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

/// Calls `body` on ranges that cover `0..len`, in parallel if the work is worth it.
///
/// `cost` estimates one item in vector operations; ranges start at multiples of `align`.
pub(crate) fn ranges(len: usize, align: usize, cost: usize, body: impl Fn(Range<usize>) + Sync) {
    /// About five microseconds, many times what sharing a loop costs.
    const WORTH: usize = 10_000;
    let units = len.div_ceil(align);
    let parts = (len.saturating_mul(cost) / WORTH)
        .min(threads() * 4)
        .min(units);
    if parts <= 1 || threads() == 1 || team::inside() {
        if len > 0 {
            body(0..len);
        }
        return;
    }
    team::run(threads(), parts, &|part| {
        let start = units * part / parts * align;
        let end = (units * (part + 1) / parts * align).min(len);
        if start < end {
            body(start..end);
        }
    });
}

/// A pointer that threads share; each must write a part of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: users write disjoint parts.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// # Safety
    /// The range is inside the allocation and no other thread uses it.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// A vector of `len` floats whose contents are arbitrary, for kernels that write every element.
#[allow(clippy::uninit_vec)]
pub(crate) fn uninit(len: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(len);
    // SAFETY: every caller overwrites all elements before reading any.
    unsafe { data.set_len(len) };
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn ranges_cover_everything_once() {
        for (len, align) in [(0, 1), (1, 8), (1001, 8), (64, 64), (10_000, 7)] {
            let seen = Mutex::new(vec![0; len]);
            ranges(len, align, 1_000, |range| {
                assert_eq!(range.start % align, 0);
                for i in range {
                    seen.lock().unwrap()[i] += 1;
                }
            });
            assert!(seen.into_inner().unwrap().iter().all(|n| *n == 1));
        }
    }
}

//! Splitting work over threads, and the memory that they share.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::simd::{InstructionSet, inherit};
use super::team;

/// Threads that work is split over: as many as those of the current rayon pool.
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

/// Calls `body` on ranges that cover `0..len`, in parallel if the work is worth it.
///
/// `cost` estimates one item in vector operations; ranges start at multiples of `align`. How many ranges there are
/// depends on the number of threads, so a result must not.
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
    let set = InstructionSet::current();
    team::run(threads(), parts, &|part| {
        let start = units * part / parts * align;
        let end = (units * (part + 1) / parts * align).min(len);
        if start < end {
            inherit(set, || body(start..end));
        }
    });
}

/// Into how many parts a sum of `size` floats over `rows` is split, of at least `least` rows each.
///
/// Every part has a sum of its own, and they are added in order. `read` is how many floats all rows have: clearing and
/// adding the sums is to be little beside reading those. The number of threads does not count, lest results depend on
/// it.
pub(crate) fn parts(rows: usize, least: usize, size: usize, read: usize) -> usize {
    const MOST: usize = 16;
    let most = (rows / least.max(1)).min(read / 4 / size.max(1));
    1 << most.clamp(1, MOST).ilog2()
}

/// Calls `body` for `0..parts`: in parallel if there is one for every thread, else one after the other, so that
/// threads share the loops inside.
pub(crate) fn each_part(parts: usize, cost: usize, body: impl Fn(usize) + Sync) {
    if parts < threads() {
        (0..parts).for_each(body);
    } else {
        ranges(parts, 1, cost, |range| range.for_each(&body));
    }
}

/// Memory that threads share; each must write a part of its own.
pub(crate) struct Shared<'a, T = f32> {
    ptr: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

// SAFETY: gives access by unsafe functions only, whose users take disjoint parts.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self {
            ptr: data.as_mut_ptr(),
            len: data.len(),
            owner: PhantomData,
        }
    }

    /// A part.
    ///
    /// # Panics
    /// If it is not inside.
    ///
    /// # Safety
    /// Nobody else uses the part while the result lives.
    pub(crate) unsafe fn slice(self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside, and nobody else's, the caller's
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), len) }
    }

    /// Where a float is, for kernels that write rows with gaps.
    pub(crate) fn at(self, offset: usize) -> *mut f32
    where
        T: Float,
    {
        self.ptr.wrapping_add(offset).cast()
    }
}

/// A float, or room for one.
pub(crate) trait Float {}
impl Float for f32 {}
impl Float for MaybeUninit<f32> {}

/// Room for `len` floats, which kernels write.
pub(crate) fn uninit(len: usize) -> Box<[MaybeUninit<f32>]> {
    Box::new_uninit_slice(len)
}

/// The floats that kernels have written.
///
/// # Safety
/// There is one in every place.
pub(crate) unsafe fn written(room: Box<[MaybeUninit<f32>]>) -> Vec<f32> {
    // SAFETY: the caller's
    unsafe { room.assume_init() }.into_vec()
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

    #[test]
    fn parts_are_worth_their_sums() {
        assert_eq!(parts(10, 256, 1, 10), 1);
        assert_eq!(parts(24_768, 256, 128 * 32, 24_768 * 160), 16);
        assert_eq!(parts(1548, 256, 512 * 128, 1548 * 640), 2);
        assert_eq!(parts(0, 0, 0, 0), 1);
    }

    #[test]
    fn threads_write_their_parts() {
        let mut room = uninit(1000);
        let shared = Shared::new(&mut room);
        ranges(1000, 1, 1_000, |range| {
            // SAFETY: ranges are disjoint
            let part = unsafe { shared.slice(range.start, range.len()) };
            for (i, x) in range.zip(part) {
                x.write(i as f32);
            }
        });
        // SAFETY: ranges cover everything
        let floats = unsafe { written(room) };
        assert!(floats.iter().enumerate().all(|(i, x)| *x == i as f32));
    }
}

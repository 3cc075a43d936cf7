//! What this processor can do at best (Williams et al. 2009, the roofline model).

use std::hint::black_box;
use std::time::Instant;

use crate::host::par::{self, Shared};
use crate::host::simd::{Kernel, LANES, Simd, each_vector, run};

/// Limits of all threads together, measured.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// Single-precision operations per second on registers; a fused multiply-add is two.
    pub operations: f64,
    /// Bytes per second between memory and processor.
    pub bytes: f64,
}

impl Roofline {
    /// Measures for about half a second.
    pub fn measure() -> Self {
        let best = |work: &dyn Fn() -> f64| {
            let once = |_| {
                let started = Instant::now();
                let amount = work();
                amount / started.elapsed().as_secs_f64()
            };
            (0..8).map(once).fold(0.0, f64::max)
        };
        let parts = 4 * par::threads();
        let operations = best(&|| {
            let mut counts = vec![0.0; parts];
            let shared = Shared::new(&mut counts);
            par::ranges(parts, 1, 1 << 20, |range| {
                for part in range {
                    // SAFETY: parts are disjoint
                    let count = unsafe { shared.slice(part, 1) };
                    count[0] = run(MultiplyAdd { rounds: 1 << 18 });
                }
            });
            counts.iter().map(|count| f64::from(*count)).sum()
        });
        // Far beyond any cache.
        let len = 16 << 20;
        let (a, b) = (vec![1.0_f32; len], vec![2.0_f32; len]);
        let mut sum = vec![0.0_f32; len];
        let shared = Shared::new(&mut sum);
        let bytes = best(&|| {
            par::ranges(len, 16, 1, |range| {
                let (a, b) = (&a[range.clone()], &b[range.clone()]);
                // SAFETY: ranges are disjoint
                run(Triad(a, b, unsafe {
                    shared.slice(range.start, range.len())
                }));
            });
            (3 * size_of::<f32>() * len) as f64
        });
        black_box(sum);
        Self { operations, bytes }
    }

    /// Seconds that work of this size takes at least.
    pub fn seconds(&self, operations: f64, bytes: f64) -> f64 {
        (operations / self.operations).max(bytes / self.bytes)
    }
}

/// Independent multiply-adds, as many as hide their latency; returns the operations done.
struct MultiplyAdd {
    rounds: usize,
}

impl Kernel for MultiplyAdd {
    type Out = f32;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        const CHAINS: usize = 12;
        // SAFETY: no memory is touched
        unsafe {
            let (a, b) = (S::splat(black_box(0.5)), S::splat(black_box(1.0)));
            let mut sums = [b; CHAINS];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = S::fma(*sum, a, b);
                }
            }
            let total = sums.into_iter().fold(b, |x, y| S::add(x, y));
            black_box(S::sum(total));
        }
        (2 * CHAINS * LANES * self.rounds) as f32
    }
}

/// `c = a + 0.5 b`
struct Triad<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl Kernel for Triad<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (a, b, c) = (self.0.as_ptr(), self.1.as_ptr(), self.2.as_mut_ptr());
        assert!(self.0.len() == self.2.len() && self.1.len() == self.2.len());
        // SAFETY: `k` floats are left in each of the slices
        unsafe {
            let half = S::splat(0.5);
            each_vector!(self.2.len(), |i, k| {
                let sum = S::fma(S::load_n(b.add(i), k), half, S::load_n(a.add(i), k));
                S::store_n(c.add(i), sum, k);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_limit_counts() {
        let roof = Roofline {
            operations: 100.0,
            bytes: 10.0,
        };
        assert_eq!(roof.seconds(200.0, 10.0), 2.0);
        assert_eq!(roof.seconds(200.0, 50.0), 5.0);
    }
}

//! A transposed left side, gathered into tiles.

use super::Left;
use crate::host::par::uninit;
use crate::host::simd::{Kernel, Simd, run};

/// Tiles `[tile][k][S::ROWS]` of a left side whose rows are neighbours in memory, as in `aᵀ b`.
///
/// A tile reads a few neighbours at every step of `k`: in place, that would be a new cache line, and
/// soon a new page, at each.
#[derive(Default)]
pub(super) struct Gathered {
    data: Vec<f32>,
}

impl Gathered {
    /// Takes `m` rows, in place of those before.
    ///
    /// # Safety
    /// All elements addressed by `a` are inside a live allocation.
    pub(super) unsafe fn fill(&mut self, m: usize, a: Left) {
        run(Gather {
            m,
            a,
            out: &mut self.data,
        });
    }

    /// As [`Gathered::fill`], with certain vectors.
    #[cfg(test)]
    pub(super) unsafe fn fill_with<S: Simd>(&mut self, m: usize, a: Left) {
        let out = &mut self.data;
        unsafe { Gather { m, a, out }.run::<S>() }
    }

    /// The `t`-th tile.
    #[inline(always)]
    pub(super) fn tile<S: Simd>(&self, t: usize, k: usize) -> Left {
        Left {
            row: 1,
            ..Left::new(self.data[t * k * S::ROWS..].as_ptr(), 0, S::ROWS, k)
        }
    }
}

/// Rows of the `t`-th of `tiles` tiles of about the same size.
#[inline(always)]
pub(super) fn rows_of(t: usize, tiles: usize, m: usize) -> (usize, usize) {
    (m * t / tiles, m * (t + 1) / tiles)
}

struct Gather<'a> {
    m: usize,
    a: Left,
    out: &'a mut Vec<f32>,
}

impl Kernel for Gather<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const { assert!(S::ROWS <= S::LANES) };
        let Self { m, a, out } = self;
        let tiles = m.div_ceil(S::ROWS);
        let size = a.segment * a.segments * S::ROWS;
        if out.len() < tiles * size {
            *out = uninit(tiles * size);
        }
        for (t, tile) in out.chunks_exact_mut(size).take(tiles).enumerate() {
            let (from, to) = rows_of(t, tiles, m);
            let mut steps = tile.chunks_exact_mut(S::ROWS);
            let mut segment = a.ptr.wrapping_add(from);
            for _ in 0..a.segments {
                let mut p = segment;
                for (_, step) in (0..a.segment).zip(&mut steps) {
                    // SAFETY: the caller's; `to - from <= S::ROWS`
                    unsafe { S::store_n(step.as_mut_ptr(), S::load_n(p, to - from), to - from) };
                    p = p.wrapping_offset(a.step);
                }
                segment = segment.wrapping_offset(a.jump);
            }
        }
    }
}

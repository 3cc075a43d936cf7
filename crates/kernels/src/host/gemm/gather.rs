//! A transposed left side, gathered into tiles.

use std::mem::MaybeUninit;

use super::Left;
use crate::host::par::uninit;
use crate::host::simd::{Kernel, LANES, Simd, run};

/// Tiles `[tile][k][S::ROWS]` of a left side whose rows are neighbours in memory, as in `aᵀ b`.
///
/// A tile reads a few neighbours at every step of `k`: in place, that would be a new cache line, and
/// soon a new page, at each.
#[derive(Default)]
pub(super) struct Gathered {
    data: Box<[MaybeUninit<f32>]>,
    /// Floats of one tile, and how many tiles there are.
    size: usize,
    tiles: usize,
}

impl Gathered {
    /// Takes `m` rows, in place of those before.
    ///
    /// # Safety
    /// All elements addressed by `a` are inside a live allocation.
    pub(super) unsafe fn fill(&mut self, m: usize, a: Left) {
        run(Gather { m, a, out: self });
    }

    /// The `t`-th tile.
    ///
    /// # Panics
    /// If there is none, or it was gathered for another instruction set.
    #[inline(always)]
    pub(super) fn tile<S: Simd>(&self, t: usize, k: usize) -> Left {
        assert!(t < self.tiles && self.size == k * S::ROWS);
        Left {
            row: 1,
            ..Left::new(self.data[t * self.size..].as_ptr().cast(), 0, S::ROWS, k)
        }
    }
}

/// Rows of the `t`-th of `tiles` tiles of about the same size.
#[inline(always)]
pub(super) fn rows_of(t: usize, tiles: usize, m: usize) -> (usize, usize) {
    (m * t / tiles, m * (t + 1) / tiles)
}

/// Made where all elements addressed by `a` are inside a live allocation.
struct Gather<'a> {
    m: usize,
    a: Left,
    out: &'a mut Gathered,
}

impl Kernel for Gather<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        const { assert!(S::ROWS <= LANES) };
        let Self { m, a, out } = self;
        out.tiles = m.div_ceil(S::ROWS);
        out.size = a.segment * a.segments * S::ROWS;
        // A step is written with a whole vector; what is too much of it, the next one writes over.
        let len = out.tiles * out.size + LANES;
        if out.data.len() < len {
            out.data = uninit(len);
        }
        let mut step = out.data.as_mut_ptr().cast::<f32>();
        for t in 0..out.tiles {
            let (from, to) = rows_of(t, out.tiles, m);
            let mut segment = a.ptr.wrapping_add(from);
            for _ in 0..a.segments {
                let mut p = segment;
                for _ in 0..a.segment {
                    // SAFETY: the rows `from..to` are in `a`; they are at most `S::ROWS`, and there is room for a vector
                    // behind the last step
                    unsafe { S::store(step, S::load_n(p, to - from)) };
                    step = step.wrapping_add(S::ROWS);
                    p = p.wrapping_offset(a.step);
                }
                segment = segment.wrapping_offset(a.jump);
            }
        }
    }
}

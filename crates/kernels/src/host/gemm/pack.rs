//! Panels of the right operand.

use crate::host::par::{self, Shared, uninit};
use crate::host::simd::{Kernel, Simd, run};

/// Right operand in panels `[panel][k][2 * LANES]`, columns padded with zeros.
#[derive(Default)]
pub(crate) struct Packed {
    pub(super) data: Vec<f32>,
    pub k: usize,
    pub n: usize,
}

/// Width of a panel on this processor.
pub(crate) fn panel_width() -> usize {
    struct Width;
    impl Kernel for Width {
        type Out = usize;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> usize {
            2 * S::LANES
        }
    }
    run(Width)
}

/// Right operand before packing: `b[k, j]` at `data[k * row + j * column]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Right<'a> {
    /// A matrix `[k, n]`.
    pub(crate) fn rows(data: &'a [f32], n: usize) -> Self {
        Self {
            data,
            row: n,
            column: 1,
        }
    }

    /// The transpose of a matrix `[n, k]`.
    pub(crate) fn columns(data: &'a [f32], k: usize) -> Self {
        Self {
            data,
            row: 1,
            column: k,
        }
    }
}

impl Packed {
    /// Packs `k` rows and `n` columns.
    pub(crate) fn new(b: Right, k: usize, n: usize) -> Self {
        let mut packed = Self {
            data: Vec::new(),
            k: 0,
            n: 0,
        };
        packed.fill(b, k, n);
        packed
    }

    /// Packs with a function that writes all of a panel: `(first column, columns, panel)`.
    pub(crate) fn from_panels(
        k: usize,
        n: usize,
        write: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Self {
        let width = panel_width();
        let panels = n.div_ceil(width);
        let mut data = vec![0.0; panels * k * width];
        let shared = Shared::new(&mut data);
        par::ranges(panels, 1, k * width, |range| {
            for panel in range {
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(panel * k * width, k * width) };
                write(panel * width, width.min(n - panel * width), out);
            }
        });
        Self { data, k, n }
    }

    /// Packs again into the same buffer.
    pub(crate) fn fill(&mut self, b: Right, k: usize, n: usize) {
        let width = panel_width();
        let len = n.div_ceil(width) * k * width;
        if self.data.len() < len {
            self.data = uninit(len);
        }
        (self.k, self.n) = (k, n);
        if k > 0 && n > 0 {
            assert!(
                (k - 1) * b.row + (n - 1) * b.column < b.data.len(),
                "operand too short"
            );
            let shared = Shared::new(&mut self.data);
            par::ranges(n.div_ceil(width), 1, k * 4, |panels| {
                let (from, to) = (panels.start * width, n.min(panels.end * width));
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(from * k, panels.len() * k * width) };
                let data = &b.data[from * b.column..];
                let (b, n) = (Right { data, ..b }, to - from);
                run(Pack { b, k, n, out });
            });
        }
    }
}

pub(super) struct Pack<'a> {
    pub b: Right<'a>,
    pub k: usize,
    pub n: usize,
    pub out: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { b, k, n, out } = self;
        let width = 2 * S::LANES;
        for (panel, out) in out
            .chunks_exact_mut(k * width)
            .take(n.div_ceil(width))
            .enumerate()
        {
            let first = panel * width;
            let columns = width.min(n - first);
            if b.column == 1 {
                for (row, out) in out.chunks_exact_mut(width).enumerate() {
                    let p = b.data[row * b.row + first..].as_ptr();
                    let q = out.as_mut_ptr();
                    // SAFETY: `columns` floats are there, checked by the caller
                    unsafe {
                        S::store(q, S::load_n(p, columns));
                        let rest = columns.saturating_sub(S::LANES);
                        let second = if rest > 0 {
                            S::load_n(p.add(S::LANES), rest)
                        } else {
                            S::splat(0.0)
                        };
                        S::store(q.add(S::LANES), second);
                    }
                }
            } else {
                // Columns are contiguous in the source: transpose in blocks that stay in cache.
                if columns < width {
                    out.fill(0.0);
                }
                let (p, q) = (b.data[first * b.column..].as_ptr(), out.as_mut_ptr());
                for block in (0..k).step_by(16) {
                    let rows = 16.min(k - block);
                    for j in 0..columns {
                        for r in block..block + rows {
                            // SAFETY: inside both, checked by the caller
                            unsafe { *q.add(r * width + j) = *p.add(j * b.column + r * b.row) };
                        }
                    }
                }
            }
        }
    }
}

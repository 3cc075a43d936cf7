//! Panels of the right operand.

use std::mem::MaybeUninit;

use crate::host::element::{Element, Elements, with_elements};
use crate::host::par::{self, Shared, uninit};
use crate::host::simd::{Kernel, LANES, Simd, run};

/// Right operand in panels `[panel][k][width]`, columns padded with zeros.
#[derive(Default)]
pub(crate) struct Packed {
    /// All panels have been written.
    data: Box<[MaybeUninit<f32>]>,
    pub k: usize,
    pub n: usize,
    /// That of a panel, which is the instruction set's.
    width: usize,
}

/// Width of a panel for the instruction set in use.
pub(crate) fn panel_width() -> usize {
    struct Width;
    impl Kernel for Width {
        type Out = usize;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> usize {
            S::PANEL * LANES
        }
    }
    run(Width)
}

/// Right operand before packing: `b[k, j]` at `data[k * row + j * column]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, T = f32> {
    pub data: &'a [T],
    pub row: usize,
    pub column: usize,
}

impl<'a, T: Element> Right<'a, T> {
    /// A matrix `[k, n]`.
    pub(crate) fn rows(data: &'a [T], n: usize) -> Self {
        Self {
            data,
            row: n,
            column: 1,
        }
    }

    /// The transpose of a matrix `[n, k]`.
    pub(crate) fn columns(data: &'a [T], k: usize) -> Self {
        Self {
            data,
            row: 1,
            column: k,
        }
    }
}

impl<T> Right<'_, T> {
    /// Without the first columns.
    pub(super) fn skip(self, columns: usize) -> Self {
        let data = &self.data[columns * self.column..];
        Self { data, ..self }
    }
}

impl Packed {
    /// Packs a matrix `[k, n]` of weights.
    pub(crate) fn rows(weight: Elements, k: usize, n: usize) -> Self {
        with_elements!(weight, |data| Self::new(Right::rows(data, n), k, n))
    }

    /// Packs the transpose of a matrix `[n, k]` of weights.
    pub(crate) fn columns(weight: Elements, k: usize, n: usize) -> Self {
        with_elements!(weight, |data| Self::new(Right::columns(data, k), k, n))
    }

    /// Packs `k` rows and `n` columns.
    pub(crate) fn new(b: Right<impl Element>, k: usize, n: usize) -> Self {
        let mut packed = Self::default();
        packed.fill(b, k, n);
        packed
    }

    /// The start of a panel.
    ///
    /// # Panics
    /// If there is none, or it was packed for another instruction set.
    #[inline(always)]
    pub(super) fn panel<S: Simd>(&self, panel: usize) -> *const f32 {
        assert!(self.width == S::PANEL * LANES && panel * self.width < self.n);
        self.data[panel * self.k * self.width..].as_ptr().cast()
    }

    /// Packs with a function that writes the columns of a panel: `(first column, columns, panel)`.
    pub(crate) fn from_panels(
        k: usize,
        n: usize,
        write: impl Fn(usize, usize, &mut [MaybeUninit<f32>]) + Sync,
    ) -> Self {
        let width = panel_width();
        let panels = n.div_ceil(width);
        let mut data = vec![MaybeUninit::new(0.0); panels * k * width].into_boxed_slice();
        let shared = Shared::new(&mut data);
        par::ranges(panels, 1, k * width, |range| {
            for panel in range {
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(panel * k * width, k * width) };
                write(panel * width, width.min(n - panel * width), out);
            }
        });
        Self { data, k, n, width }
    }

    /// Packs again into the same buffer.
    pub(crate) fn fill(&mut self, b: Right<impl Element>, k: usize, n: usize) {
        let width = panel_width();
        let len = n.div_ceil(width) * k * width;
        if self.data.len() < len {
            self.data = uninit(len);
        }
        (self.k, self.n, self.width) = (k, n, width);
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
                let (b, n) = (b.skip(from), to - from);
                run(Pack { b, k, n, out });
            });
        }
    }
}

pub(super) struct Pack<'a, T> {
    pub b: Right<'a, T>,
    pub k: usize,
    pub n: usize,
    /// All of it is written.
    pub out: &'a mut [MaybeUninit<f32>],
}

impl<T: Element> Kernel for Pack<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { b, k, n, out } = self;
        let width = S::PANEL * LANES;
        let panels = n.div_ceil(width);
        assert!(out.len() == panels * k * width);
        if k == 0 || n == 0 {
            return;
        }
        assert!((k - 1) * b.row + (n - 1) * b.column < b.data.len());
        for (panel, out) in out.chunks_exact_mut(k * width).enumerate() {
            let first = panel * width;
            let columns = width.min(n - first);
            let q = out.as_mut_ptr().cast::<f32>();
            if b.column == 1 {
                for row in 0..k {
                    let p = b.data[row * b.row + first..].as_ptr();
                    for from in (0..width).step_by(LANES) {
                        let columns = columns.saturating_sub(from).min(LANES);
                        // SAFETY: the row has so many columns, and the panel's `width` floats for each row
                        unsafe {
                            let v = if columns > 0 {
                                T::load_n::<S>(p.add(from), columns)
                            } else {
                                S::splat(0.0)
                            };
                            S::store(q.add(row * width + from), v);
                        }
                    }
                }
            } else {
                // Columns are contiguous in the source: transpose squares of one vector's width.
                assert!(b.row == 1);
                let p = b.data[first * b.column..].as_ptr();
                for block in (0..k).step_by(LANES) {
                    let rows = LANES.min(k - block);
                    for from in (0..width).step_by(LANES) {
                        let columns = columns.saturating_sub(from).min(LANES);
                        // SAFETY: each column has the rows, as checked above; the panel's `width` floats for each row
                        unsafe {
                            let mut square = [S::splat(0.0); LANES];
                            for (j, column) in square[..columns].iter_mut().enumerate() {
                                let at = (from + j) * b.column + block;
                                *column = T::load_n::<S>(p.add(at), rows);
                            }
                            let square = S::transpose(square);
                            for (r, row) in square[..rows].iter().enumerate() {
                                S::store(q.add((block + r) * width + from), *row);
                            }
                        }
                    }
                }
            }
        }
    }
}

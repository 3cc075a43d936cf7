//! Panels of the right operand.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::host::element::{Element, Elements, with_elements};
use crate::host::par::{self, Shared, uninit};
use crate::host::simd::{Kernel, LANES, Simd, run};

/// Right operand in panels `[panel][k][LANES]`, columns padded with zeros, for every instruction set.
#[derive(Default)]
pub(crate) struct Packed<T = f32> {
    /// All panels have been written.
    data: Box<[MaybeUninit<T>]>,
    pub k: usize,
    pub n: usize,
}

/// The first rows and some columns of a packed right operand.
#[derive(Clone)]
pub(crate) struct Part<'a, T = f32> {
    pub packed: &'a Packed<T>,
    pub rows: usize,
    /// From the first of a panel on.
    pub columns: Range<usize>,
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

impl<T: Element> Packed<T> {
    /// Packs the transpose of a matrix `[n, k]` without widening it, for weights that are packed once.
    pub(crate) fn keeping(weight: &[T], k: usize, n: usize) -> Self {
        assert!(
            weight.len() == n * k,
            "{} numbers, not {n} by {k}",
            weight.len()
        );
        let mut data = Box::new_uninit_slice(n.div_ceil(LANES) * k * LANES);
        let shared = Shared::new(&mut data);
        par::ranges(n.div_ceil(LANES), 1, k * LANES, |range| {
            for panel in range {
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(panel * k * LANES, k * LANES) };
                for (row, out) in out.chunks_exact_mut(LANES).enumerate() {
                    for (lane, out) in out.iter_mut().enumerate() {
                        let column = panel * LANES + lane;
                        let number = weight.get(column * k + row);
                        out.write(number.copied().filter(|_| column < n).unwrap_or_default());
                    }
                }
            }
        });
        Self { data, k, n }
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Part<'_, T> {
        self.part(self.k, 0..self.n)
    }

    /// The first rows, and columns from the first of a panel on.
    ///
    /// # Panics
    /// If they are not there, or the columns begin within a panel.
    pub(crate) fn part(&self, rows: usize, columns: Range<usize>) -> Part<'_, T> {
        assert!(rows <= self.k && columns.end <= self.n && columns.start.is_multiple_of(LANES));
        Part {
            packed: self,
            rows,
            columns,
        }
    }

    /// How many panels there are.
    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(LANES)
    }

    /// The start of a panel.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> *const T {
        assert!(panel * LANES < self.n);
        self.data[panel * self.k * LANES..].as_ptr().cast()
    }

    /// A number of the right operand.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn at(&self, row: usize, column: usize) -> T {
        assert!(row < self.k && column < self.n);
        let panel = column / LANES * self.k;
        // SAFETY: all panels have been written
        unsafe { self.data[(panel + row) * LANES + column % LANES].assume_init() }
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

    /// Packs with a function that writes the columns of a panel: `(first column, columns, panel)`.
    pub(crate) fn from_panels(
        k: usize,
        n: usize,
        write: impl Fn(usize, usize, &mut [MaybeUninit<f32>]) + Sync,
    ) -> Self {
        let panels = n.div_ceil(LANES);
        let mut data = Box::new_zeroed_slice(panels * k * LANES);
        let shared = Shared::new(&mut data);
        par::ranges(panels, 1, k * LANES, |range| {
            for panel in range {
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(panel * k * LANES, k * LANES) };
                write(panel * LANES, LANES.min(n - panel * LANES), out);
            }
        });
        Self { data, k, n }
    }

    /// Packs again into the same buffer.
    pub(crate) fn fill(&mut self, b: Right<impl Element>, k: usize, n: usize) {
        let len = n.div_ceil(LANES) * k * LANES;
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
            par::ranges(n.div_ceil(LANES), 1, k * 2, |panels| {
                let (from, to) = (panels.start * LANES, n.min(panels.end * LANES));
                // SAFETY: panels are disjoint
                let out = unsafe { shared.slice(from * k, panels.len() * k * LANES) };
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
        assert!(out.len() == n.div_ceil(LANES) * k * LANES);
        if k == 0 || n == 0 {
            return;
        }
        assert!((k - 1) * b.row + (n - 1) * b.column < b.data.len());
        for (panel, out) in out.chunks_exact_mut(k * LANES).enumerate() {
            let first = panel * LANES;
            let columns = LANES.min(n - first);
            let q = out.as_mut_ptr().cast::<f32>();
            if b.column == 1 {
                for row in 0..k {
                    let p = b.data[row * b.row + first..].as_ptr();
                    // SAFETY: the row has so many columns, and the panel `LANES` floats for each row
                    unsafe { S::store(q.add(row * LANES), T::load_n::<S>(p, columns)) };
                }
            } else {
                // Columns are contiguous in the source: transpose squares of one vector's width.
                assert!(b.row == 1);
                let p = b.data[first * b.column..].as_ptr();
                for block in (0..k).step_by(LANES) {
                    let rows = LANES.min(k - block);
                    // SAFETY: each column has the rows, as checked above; the panel `LANES` floats for each row
                    unsafe {
                        let mut square = [S::splat(0.0); LANES];
                        for (j, column) in square[..columns].iter_mut().enumerate() {
                            *column = T::load_n::<S>(p.add(j * b.column + block), rows);
                        }
                        let square = S::transpose(square);
                        for (r, row) in square[..rows].iter().enumerate() {
                            S::store(q.add((block + r) * LANES), *row);
                        }
                    }
                }
            }
        }
    }
}

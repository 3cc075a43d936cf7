//! The register tile.

use super::{Left, Out, Start};
use crate::host::element::Element;
use crate::host::simd::{LANES, Simd};

/// A few panels of the right side, ready to meet tiles of rows.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a, T> {
    /// The first panel: `LANES` numbers for each `k` of the left side.
    pub b: *const T,
    /// Distance of panels.
    pub panel: usize,
    /// Columns in use, at least one.
    pub columns: usize,
    pub start: Start<'a>,
}

/// The most panels that a tile of so many rows takes.
///
/// Where rows are few, more panels keep the processor's units for multiply-adds busy.
#[inline(always)]
pub(super) const fn widest<S: Simd>(rows: usize) -> usize {
    if rows * 3 <= S::ROWS {
        2 * S::PANEL
    } else {
        S::PANEL
    }
}

impl<T: Element> Tile<'_, T> {
    /// At most `S::ROWS` rows, and one, two or four panels, no more than [`widest`] says.
    ///
    /// # Safety
    /// `b` has what it promises, `a` and `c` the rows, and nobody else touches those of `c`. See [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(self, rows: usize, a: Left, c: Out) {
        macro_rules! rows {
            ($($n:literal)*) => {
                match rows {
                    $($n => match self.columns.div_ceil(LANES) {
                        // SAFETY: the caller's
                        1 => unsafe { tile::<S, T, $n, 1>(a, self, c) },
                        // SAFETY: the caller's
                        2 => unsafe { tile::<S, T, $n, 2>(a, self, c) },
                        // SAFETY: the caller's
                        _ => unsafe { tile::<S, T, $n, 4>(a, self, c) },
                    })*
                    _ => {}
                }
            };
        }
        rows!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// `R` rows by `W` vectors in registers.
///
/// A sum runs over `k` in order, whatever the tile: results do not depend on the tile's shape.
///
/// # Safety
/// As for [`Tile::run`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // rows and vectors are indices of several arrays at once
unsafe fn tile<S: Simd, T: Element, const R: usize, const W: usize>(a: Left, t: Tile<T>, c: Out) {
    if R > S::ROWS || W > widest::<S>(R) {
        return; // never compiled into more than this
    }
    let last = t.columns - (W - 1) * LANES;
    let part = |w: usize| if w + 1 == W { last } else { LANES };
    // SAFETY: the caller's
    unsafe {
        let mut acc = [[S::splat(0.0); W]; R];
        match t.start {
            Start::Zero => {}
            Start::Accumulate => {
                for r in 0..R {
                    for w in 0..W {
                        acc[r][w] = S::load_n(c.ptr.add(r * c.row + w * LANES), part(w));
                    }
                }
            }
            Start::Bias(bias) => {
                for w in 0..W {
                    let v = S::load_n(bias.as_ptr().add(w * LANES), part(w));
                    for row in acc.iter_mut() {
                        row[w] = v;
                    }
                }
            }
        }
        let mut b = t.b;
        let mut segment = a.ptr;
        for _ in 0..a.segments {
            let mut p = segment;
            for _ in 0..a.segment {
                let mut bv = [S::splat(0.0); W];
                for w in 0..W {
                    bv[w] = T::load_n::<S>(b.add(w * t.panel), LANES);
                }
                for r in 0..R {
                    let av = S::splat(*p.offset(r as isize * a.row));
                    for w in 0..W {
                        acc[r][w] = S::fma(av, bv[w], acc[r][w]);
                    }
                }
                p = p.wrapping_offset(a.step);
                b = b.add(LANES);
            }
            segment = segment.wrapping_offset(a.jump);
        }
        for r in 0..R {
            for w in 0..W {
                S::store_n(c.ptr.add(r * c.row + w * LANES), acc[r][w], part(w));
            }
        }
    }
}

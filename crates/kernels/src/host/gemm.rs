//! Matrix product with a packed right side, and its register tile.
//!
//! The left side is read in place through strides (gathered first if it is transposed), the right side
//! from panels one vector wide, so that one tile of up to `S::ROWS` rows by a few panels lives in registers. The sum over
//! `k` runs in segments, which lets a convolution read its input without unfolding it: each kernel row is one
//! segment.
//!
//! Every sum is made in one order, from the start value over rising `k`, each step rounded once: however the
//! product is cut into tiles, blocks and threads, the result is the same.

mod gather;
mod pack;
mod tile;

use gather::{Gathered, rows_of};
pub(crate) use pack::{Packed, Part, Right};
use tile::{Tile, widest};

use super::element::Element;
use super::par;
use super::simd::{Kernel, LANES, Simd, run};

/// Left operand `a[i, k]` at `ptr + i * row + (k / segment) * jump + (k % segment) * step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub ptr: *const f32,
    /// Distance of rows.
    pub row: isize,
    /// Distance of neighbours along `k`.
    pub step: isize,
    /// Length of a segment of `k`.
    pub segment: usize,
    /// Number of segments; `k` in all is `segment * segments`.
    pub segments: usize,
    /// Distance of segments.
    pub jump: isize,
}

// SAFETY: only read from; lifetimes are the callers' duty.
unsafe impl Send for Left {}
// SAFETY: as above.
unsafe impl Sync for Left {}

impl Left {
    /// One segment: `a[i, k]` at `data[i * row + k * step]`.
    pub(crate) fn new(data: *const f32, row: usize, step: usize, k: usize) -> Self {
        Self {
            ptr: data,
            row: row as isize,
            step: step as isize,
            segment: k,
            segments: 1,
            jump: 0,
        }
    }

    /// Without the first `rows` rows.
    pub(crate) fn skip(self, rows: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_offset(rows as isize * self.row),
            ..self
        }
    }
}

/// How the output starts.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// Add to what is there.
    Accumulate,
    /// One value per column.
    Bias(&'a [f32]),
}

/// Rows of the output: row `i` starts at `ptr + i * row`.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    pub ptr: *mut f32,
    pub row: usize,
}

impl Out {
    /// Without the first `rows` rows.
    pub(crate) fn skip(self, rows: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(rows * self.row),
            ..self
        }
    }

    /// Without the first `columns` columns.
    pub(crate) fn skip_columns(self, columns: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(columns),
            ..self
        }
    }
}

// SAFETY: users write disjoint rows.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Rows that meet each panel while it is in the first-level cache.
pub(crate) const BLOCK: usize = 96;

/// `c[i, j] = start + Σ_k a[i, k] b[k, j]` for `m` rows, on this thread.
///
/// # Safety
/// All elements addressed by `a` and `c` are inside live allocations, and nobody else touches `c`.
pub(crate) unsafe fn product(m: usize, a: Left, b: &Packed, c: Out, start: Start) {
    // SAFETY: the caller's
    unsafe { product_of(m, a, b.whole(), c, start) };
}

/// As [`product`], for a part of the right side; `c` and a bias begin with the first of all its columns.
///
/// # Safety
/// As for [`product`].
pub(crate) unsafe fn product_of<T: Element>(m: usize, a: Left, b: Part<T>, c: Out, start: Start) {
    let transposed = a.row == 1 && a.step != 1;
    let mut gathered = Gathered::default();
    for first in (0..m).step_by(BLOCK) {
        let (a, c, rows) = (a.skip(first), c.skip(first), BLOCK.min(m - first));
        // SAFETY: the caller's
        unsafe {
            if transposed {
                gathered.fill(rows, a);
            }
            let gathered = transposed.then_some(&gathered);
            run(Product {
                groups: [1, 0, 0],
                m: rows,
                a,
                gathered,
                b: b.clone(),
                c,
                start,
            });
        }
    }
}

/// As [`product`] for `count` groups of `m` rows, `[count, left distance, out distance]` apart.
///
/// # Safety
/// As for [`product`].
pub(crate) unsafe fn product_groups(
    groups: [usize; 3],
    m: usize,
    a: Left,
    b: &Packed,
    c: Out,
    start: Start,
) {
    run(Product {
        groups,
        m,
        a,
        gathered: None,
        b: b.whole(),
        c,
        start,
    });
}

/// As [`product`], over all threads.
///
/// # Safety
/// As for [`product`].
pub(crate) unsafe fn product_parallel(m: usize, a: Left, b: &Packed, c: Out, start: Start) {
    let cost = b.k * b.n / 32 + 1;
    par::ranges(m, 12, cost, |rows| {
        let (a, c) = (a.skip(rows.start), c.skip(rows.start));
        // SAFETY: rows are disjoint
        unsafe { product(rows.len(), a, b, c, start) }
    });
}

/// From how many numbers on a right side is not packed as a whole (16 MB).
pub(crate) const WIDE: usize = 1 << 22;

/// As [`product_parallel`] with a right side `[k, n]` that is not packed yet.
///
/// # Safety
/// As for [`product`].
pub(crate) unsafe fn product_packing(
    m: usize,
    a: Left,
    b: Right<impl Element>,
    [k, n]: [usize; 2],
    c: Out,
    start: Start,
) {
    // SAFETY: the caller's
    unsafe {
        if n * k < WIDE {
            product_parallel(m, a, &Packed::new(b, k, n), c, start);
        } else {
            product_wide(m, a, b, [k, n], c, start);
        }
    }
}

/// As [`product_packing`] for a right side that is too large to be packed as a whole: threads pack a few columns
/// at a time, and multiply with them while they are in the cache.
///
/// # Safety
/// As for [`product`].
unsafe fn product_wide(
    m: usize,
    a: Left,
    b: Right<impl Element>,
    [k, n]: [usize; 2],
    c: Out,
    start: Start,
) {
    /// Numbers that stay in the second-level cache.
    const CACHED: usize = 1 << 18;
    let chunk = (CACHED / k.max(1)).max(1).next_multiple_of(2 * LANES);
    let cost = m * k * chunk / 32;
    par::ranges(n.div_ceil(chunk), 1, cost, |chunks| {
        let mut packed = Packed::default();
        for first in chunks.map(|i| i * chunk) {
            let columns = chunk.min(n - first);
            packed.fill(b.skip(first), k, columns);
            let start = match start {
                Start::Bias(bias) => Start::Bias(&bias[first..]),
                other => other,
            };
            // SAFETY: columns are disjoint
            unsafe { product(m, a, &packed, c.skip_columns(first), start) };
        }
    });
}

/// Made where all elements addressed by `a` and `c` are inside live allocations, and nobody else touches `c`.
struct Product<'a, T> {
    groups: [usize; 3],
    m: usize,
    a: Left,
    /// The rows of `a` in tiles, of the only group.
    gathered: Option<&'a Gathered>,
    b: Part<'a, T>,
    c: Out,
    start: Start<'a>,
}

impl<T: Element> Kernel for Product<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self {
            groups: [groups, a_group, c_group],
            m,
            a,
            gathered,
            b:
                Part {
                    packed,
                    rows,
                    columns,
                },
            c,
            start,
        } = self;
        assert!(a.segment * a.segments == rows);
        let tiles = m.div_ceil(S::ROWS);
        if tiles == 0 {
            return;
        }
        let widest = widest::<S>(m.div_ceil(tiles));
        let (mut panel, panels) = (columns.start / LANES, columns.end.div_ceil(LANES));
        while panel < panels {
            let mut wide = widest;
            while wide > panels - panel {
                wide /= 2;
            }
            let column = panel * LANES;
            let tile = Tile {
                b: packed.panel(panel),
                panel: packed.k * LANES,
                columns: (wide * LANES).min(columns.end - column),
                start: match start {
                    Start::Bias(bias) => Start::Bias(&bias[column..]),
                    other => other,
                },
            };
            panel += wide;
            for group in 0..groups {
                for t in 0..tiles {
                    let (from, to) = rows_of(t, tiles, m);
                    let at = (group * a_group) as isize + from as isize * a.row;
                    let a = match gathered {
                        Some(gathered) => gathered.tile::<S>(t, rows),
                        None => Left {
                            ptr: a.ptr.wrapping_offset(at),
                            ..a
                        },
                    };
                    let at = group * c_group + from * c.row + column;
                    let c = Out {
                        ptr: c.ptr.wrapping_add(at),
                        ..c
                    };
                    // SAFETY: the panels have `LANES` floats for each `k`; the rest where this was made
                    unsafe { tile.run::<S>(to - from, a, c) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{InstructionSet, with_instruction_set};

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    fn check(m: usize, k: usize, n: usize, [left, right]: [bool; 2], start: u8) -> Vec<f32> {
        let a = numbers(m * k, 1);
        let b = numbers(k * n, 2);
        let bias = numbers(n, 3);
        let mut c = numbers(m * n, 4);
        let expected: Vec<f64> = (0..m * n)
            .map(|i| {
                let (row, column) = (i / n, i % n);
                let first = match start {
                    0 => 0.0,
                    1 => c[i],
                    _ => bias[column],
                };
                (0..k).fold(f64::from(first), |sum, l| {
                    let a = a[if left { l * m + row } else { row * k + l }];
                    let b = b[if right {
                        column * k + l
                    } else {
                        l * n + column
                    }];
                    sum + f64::from(a) * f64::from(b)
                })
            })
            .collect();
        let right = if right {
            Right::columns(&b, k)
        } else {
            Right::rows(&b, n)
        };
        let start = match start {
            0 => Start::Zero,
            1 => Start::Accumulate,
            _ => Start::Bias(&bias),
        };
        let left = if left {
            Left::new(a.as_ptr(), 1, m, k)
        } else {
            Left::new(a.as_ptr(), k, 1, k)
        };
        let out = Out {
            ptr: c.as_mut_ptr(),
            row: n,
        };
        // SAFETY: `a` has `m * k` and `c` `m * n` floats
        unsafe { product_parallel(m, left, &Packed::new(right, k, n), out, start) };
        for (a, b) in c.iter().zip(&expected) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{m} {k} {n} {a} {b}");
        }
        c
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn columns_at_a_time_are_the_same() {
        let (m, k, n) = (7, 900, 700);
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        for (right, start) in [
            (Right::columns(&b, k), Start::Bias(&bias)),
            (Right::rows(&b, n), Start::Zero),
        ] {
            let left = Left::new(a.as_ptr(), k, 1, k);
            let mut results = [vec![0.0; m * n], vec![0.0; m * n]];
            let [whole, parts] = results.each_mut().map(|c| Out {
                ptr: c.as_mut_ptr(),
                row: n,
            });
            // SAFETY: `a` has `m * k` and each result `m * n` floats
            unsafe {
                product_parallel(m, left, &Packed::new(right, k, n), whole, start);
                product_wide(m, left, right, [k, n], parts, start);
            }
            assert_eq!(results[0], results[1]);
        }
    }

    #[test]
    fn equals_the_definition() {
        for (m, k, n) in [
            (1, 1, 1),
            (12, 7, 32),
            (13, 5, 33),
            (100, 64, 48),
            (25, 3, 100),
            (7, 40, 15),
            (2, 9, 100),
            (4, 6, 64),
            (1, 33, 150),
        ] {
            if cfg!(miri) && m * k * n > 10_000 {
                continue; // slow
            }
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                for start in 0..3 {
                    let check = || check(m, k, n, transposed, start);
                    let expected = check();
                    for set in InstructionSet::available() {
                        let found = with_instruction_set(set, check);
                        assert_eq!(found.as_ref(), Ok(&expected), "{set}, bit by bit");
                    }
                }
            }
        }
    }
}

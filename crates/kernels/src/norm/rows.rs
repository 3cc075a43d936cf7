//! Layer and root-mean-square normalisation of rows.

use std::mem::MaybeUninit;

use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::linear::add_parts;

/// Inputs: `x`, then `weight` if present, then `bias` if present.
#[derive(Debug)]
pub(super) struct RowNorm {
    /// Whether the mean is subtracted.
    pub centred: bool,
    pub weight: bool,
    pub eps: f32,
}

impl RowNorm {
    fn parameters<'a>(&self, inputs: &'a [Host]) -> (Option<&'a [f32]>, Option<&'a [f32]>) {
        let mut rest = inputs[1..].iter().map(Host::data);
        let weight = if self.weight { rest.next() } else { None };
        (weight, rest.next())
    }
}

impl HostOp for RowNorm {
    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
        let (shape, x) = (inputs[0].shape(), inputs[0].data());
        let n = *shape.last().expect("at least one axis");
        let rows = shape[..shape.len() - 1].iter().product::<usize>();
        let (weight, bias) = self.parameters(inputs);
        let mut y = uninit(rows * n);
        // Mean and reciprocal deviation of each row
        let mut statistics = uninit(rows * 2);
        let (ys, stats) = (Shared::new(&mut y), Shared::new(&mut statistics));
        par::ranges(rows, 1, n.div_ceil(8), |range| {
            let (first, len) = (range.start, range.len());
            run(Forward {
                op: self,
                n,
                x: &x[first * n..(first + len) * n],
                weight,
                bias,
                // SAFETY: rows are disjoint
                y: unsafe { ys.slice(first * n, len * n) },
                // SAFETY: as above
                statistics: unsafe { stats.slice(first * 2, len * 2) },
            });
        });
        // SAFETY: every row has been written, and its two statistics
        let (y, statistics) = unsafe { (written(y), written(statistics)) };
        if needs.contains(&true) {
            keep.push(statistics);
        }
        Output::new(y, shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let mut kept = vec![false; needs.len()];
        kept[0] = needs[0] || self.weight && needs[1];
        if self.weight {
            kept[1] = needs[0];
        }
        kept
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let shape = &saved.shapes[0];
        let n = *shape.last().expect("at least one axis");
        let rows = shape[..shape.len() - 1].iter().product::<usize>();
        let x = saved.inputs[0].as_ref().map_or(&[][..], Host::data);
        let weight = (self.weight && needs[0]).then(|| saved.input(1).data());
        let (grad, statistics) = (grad.data(), &saved.buffers[0]);
        let needs_parameters = needs[1..].contains(&true);
        let mut dx = uninit(if needs[0] { rows * n } else { 0 });
        let dxs = Shared::new(&mut dx);
        // Each part sums the parameters' gradients on its own: weight, then bias.
        let parts = par::parts(rows, 25_000 / n.max(1), 2 * n, 2 * rows * n);
        let width = rows.div_ceil(parts);
        let mut sums = vec![0.0; parts * 2 * n];
        let partial = Shared::new(&mut sums);
        par::ranges(parts, 1, width * n.div_ceil(4), |range| {
            for part in range {
                let (from, to) = ((part * width).min(rows), ((part + 1) * width).min(rows));
                let len = if needs[0] { (to - from) * n } else { 0 };
                run(Backward {
                    op: self,
                    n,
                    x: if x.is_empty() {
                        x
                    } else {
                        &x[from * n..to * n]
                    },
                    weight,
                    grad: &grad[from * n..to * n],
                    statistics: &statistics[from * 2..to * 2],
                    // SAFETY: parts are disjoint
                    dx: unsafe { dxs.slice(if needs[0] { from * n } else { 0 }, len) },
                    // SAFETY: as above
                    sums: needs_parameters.then(|| unsafe { partial.slice(part * 2 * n, 2 * n) }),
                });
            }
        });
        add_parts(&mut sums, 2 * n);
        // SAFETY: every part has written its rows, if there are any
        let dx = unsafe { written(dx) };
        let mut results = vec![needs[0].then(|| Output::new(dx, shape))];
        for (i, needed) in needs.iter().enumerate().skip(1) {
            let at = if self.weight && i == 1 { 0 } else { n };
            results.push(needed.then(|| Output::new(sums[at..at + n].to_vec(), &[n])));
        }
        results
    }
}

struct Forward<'a> {
    op: &'a RowNorm,
    n: usize,
    x: &'a [f32],
    weight: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    /// All of it is written, and of the next.
    y: &'a mut [MaybeUninit<f32>],
    statistics: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.n;
        if n == 0 {
            return;
        }
        assert!(self.x.len() == self.y.len());
        assert!(self.statistics.len() * n == 2 * self.x.len());
        assert!(
            [self.weight, self.bias]
                .iter()
                .flatten()
                .all(|p| p.len() == n)
        );
        let rows = self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n));
        for ((x, y), statistics) in rows.zip(self.statistics.chunks_exact_mut(2)) {
            let (x, y) = (x.as_ptr(), y.as_mut_ptr().cast::<f32>());
            // SAFETY: rows and parameters are `n` floats, of which `k` are left
            unsafe {
                let mean = if self.op.centred {
                    let mut sum = S::splat(0.0);
                    each_vector!(n, |i, k| {
                        sum = S::add(sum, S::load_n(x.add(i), k));
                    });
                    S::sum(sum) / n as f32
                } else {
                    0.0
                };
                let centre = S::splat(mean);
                let mut squares = S::splat(0.0);
                each_vector!(n, |i, k| {
                    let d = S::sub(S::load_n(x.add(i), k), centre);
                    // Lanes beyond the row hold -mean.
                    let d = S::first_n(d, k, S::splat(0.0));
                    squares = S::fma(d, d, squares);
                });
                let variance = S::sum(squares) / n as f32;
                let scale = 1.0 / (variance + self.op.eps).sqrt();
                statistics[0].write(mean);
                statistics[1].write(scale);
                let scale = S::splat(scale);
                each_vector!(n, |i, k| {
                    let mut v = S::mul(S::sub(S::load_n(x.add(i), k), centre), scale);
                    if let Some(weight) = self.weight {
                        v = S::mul(v, S::load_n(weight.as_ptr().add(i), k));
                    }
                    if let Some(bias) = self.bias {
                        v = S::add(v, S::load_n(bias.as_ptr().add(i), k));
                    }
                    S::store_n(y.add(i), v, k);
                });
            }
        }
    }
}

struct Backward<'a> {
    op: &'a RowNorm,
    n: usize,
    x: &'a [f32],
    weight: Option<&'a [f32]>,
    grad: &'a [f32],
    statistics: &'a [f32],
    /// Empty if not wanted, else all of it is written.
    dx: &'a mut [MaybeUninit<f32>],
    /// Added to: the weight's `n`, then the bias's.
    sums: Option<&'a mut [f32]>,
}

impl Kernel for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let n = self.n;
        assert!(self.weight.is_none_or(|weight| weight.len() == n));
        assert!(self.sums.as_ref().is_none_or(|sums| sums.len() == 2 * n));
        for (row, statistics) in self.statistics.chunks_exact(2).enumerate() {
            let grad = self.grad[row * n..][..n].as_ptr();
            // SAFETY: rows and parameters are `n` floats, of which `k` are left
            unsafe {
                let (centre, scale) = (S::splat(statistics[0]), S::splat(statistics[1]));
                if let Some(sums) = &mut self.sums {
                    let (dw, db) = sums.split_at_mut(n);
                    let (dw, db) = (dw.as_mut_ptr(), db.as_mut_ptr());
                    if self.x.is_empty() {
                        each_vector!(n, |i, k| {
                            let g = S::load_n(grad.add(i), k);
                            S::store_n(db.add(i), S::add(S::load_n(db.add(i), k), g), k);
                        });
                    } else {
                        let x = self.x[row * n..][..n].as_ptr();
                        each_vector!(n, |i, k| {
                            let g = S::load_n(grad.add(i), k);
                            let unit = S::mul(S::sub(S::load_n(x.add(i), k), centre), scale);
                            S::store_n(dw.add(i), S::fma(g, unit, S::load_n(dw.add(i), k)), k);
                            S::store_n(db.add(i), S::add(S::load_n(db.add(i), k), g), k);
                        });
                    }
                }
                if self.dx.is_empty() {
                    continue;
                }
                let x = self.x[row * n..][..n].as_ptr();
                let dx = self.dx[row * n..][..n].as_mut_ptr().cast::<f32>();
                let (mut sum, mut dot) = (S::splat(0.0), S::splat(0.0));
                each_vector!(n, |i, k| {
                    let g = weighted::<S>(grad, self.weight, i, k);
                    let unit = S::mul(S::sub(S::load_n(x.add(i), k), centre), scale);
                    sum = S::add(sum, g); // zero beyond the row
                    dot = S::fma(g, unit, dot);
                });
                let mean = if self.op.centred {
                    S::sum(sum) / n as f32
                } else {
                    0.0
                };
                let (mean, dot) = (S::splat(mean), S::splat(S::sum(dot) / n as f32));
                each_vector!(n, |i, k| {
                    let g = S::sub(weighted::<S>(grad, self.weight, i, k), mean);
                    let unit = S::mul(S::sub(S::load_n(x.add(i), k), centre), scale);
                    let d = S::sub(g, S::mul(unit, dot));
                    S::store_n(dx.add(i), S::mul(d, scale), k);
                });
            }
        }
    }
}

/// `grad · weight`, or `grad` without a weight.
///
/// # Safety
/// Both have `k` floats from the `i`-th on; see [`Simd`].
#[inline(always)]
unsafe fn weighted<S: Simd>(grad: *const f32, weight: Option<&[f32]>, i: usize, k: usize) -> S::V {
    // SAFETY: the caller's
    unsafe {
        let g = S::load_n(grad.add(i), k);
        match weight {
            Some(weight) => S::mul(g, S::load_n(weight.as_ptr().add(i), k)),
            None => g,
        }
    }
}

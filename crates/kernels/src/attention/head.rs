//! One head of one batch element: its operands and the visible part of its rows.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::op::HIDDEN;
use crate::host::custom::Host;
use crate::host::gemm::{Left, Right};
use crate::host::math::{exp, ln};
use crate::host::simd::{Kernel, Simd, each_vector};

/// Rows of a matrix with gaps between them.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// Head `head` of batch element `b` of a `[batch, heads, rows, dim]` tensor.
    pub(super) fn of(x: &'a Host, b: usize, head: usize) -> Self {
        let start = b * x.stride(0) + head * x.stride(1);
        Self {
            data: &x.data()[start..],
            stride: x.stride(2),
        }
    }

    pub(super) fn from(self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..]
    }

    /// `rows` as they are, `columns` being summed over.
    pub(super) fn left(self, row: usize, columns: usize) -> Left {
        Left::new(self.from(row).as_ptr(), self.stride, 1, columns)
    }

    /// Rows of the right side of a product.
    pub(super) fn right(self, row: usize) -> Right<'a> {
        Right::rows(self.from(row), self.stride)
    }

    /// Columns of the right side of a product.
    pub(super) fn right_transposed(self, row: usize) -> Right<'a> {
        Right::columns(self.from(row), self.stride)
    }
}

/// One head of one batch element.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub q: Rows<'a>,
    pub k: Rows<'a>,
    pub v: Rows<'a>,
    pub queries: usize,
    pub keys: usize,
    pub dim: usize,
    pub value_dim: usize,
    pub scale: f32,
    pub causal: bool,
    pub padding: Option<&'a [f32]>,
    pub bias: Option<Rows<'a>>,
}

impl Head<'_> {
    /// Blocks of queries whose scores stay in the second-level cache; where later queries see more, small enough that
    /// few scores are computed in vain.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        let most = if self.causal { 48 } else { 192 };
        let size = (48 * 1024 / self.keys).clamp(12, most);
        (0..self.queries).step_by(size).map(move |first| {
            let end = self.queries.min(first + size);
            Block {
                queries: first..end,
                keys: self.limit(end - 1).max(1),
            }
        })
    }

    /// Keys that a query may see by its position.
    pub(super) fn limit(&self, query: usize) -> usize {
        if self.causal {
            (query + 1 + self.keys).saturating_sub(self.queries)
        } else {
            self.keys
        }
    }
}

/// Neighbouring queries whose scores are computed at once.
#[derive(Clone)]
pub(super) struct Block {
    pub queries: Range<usize>,
    /// So many keys at the beginning, at least one, are all that any of them sees.
    pub keys: usize,
}

impl Block {
    /// How many scores there are: one row for each query.
    pub(super) fn scores(&self) -> usize {
        self.queries.len() * self.keys
    }
}

/// Turns rows of raw scores into probabilities, and their log-sum-exps.
pub(super) struct Softmax<'a> {
    pub head: &'a Head<'a>,
    pub block: Block,
    pub scores: &'a mut [f32],
    /// All of it is written.
    pub log_sums: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Softmax<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Block { queries, keys } = self.block;
        assert!(self.scores.len() == queries.len() * keys);
        assert!(self.log_sums.len() == queries.len());
        let rows = self.scores.chunks_exact_mut(keys);
        for ((query, row), log_sum) in queries.zip(rows).zip(self.log_sums) {
            // SAFETY: `k` floats are left of the row's first `limit`
            unsafe {
                let limit = self.head.limit(query);
                let (row, hidden) = row.split_at_mut(limit);
                hidden.fill(0.0);
                let top = adjust::<S>(self.head, query, row);
                if top <= HIDDEN * 0.5 {
                    row.fill(0.0);
                    log_sum.write(f32::INFINITY);
                    continue;
                }
                let p = row.as_mut_ptr();
                let highest = S::splat(top);
                let mut sum = S::splat(0.0);
                each_vector!(limit, |i, k| {
                    let e = exp::<S>(S::sub(S::load_n(p.add(i), k), highest));
                    S::store_n(p.add(i), e, k);
                    sum = S::add(sum, S::first_n(e, k, S::splat(0.0)));
                });
                let sum = S::sum(sum);
                log_sum.write(top + ln(sum));
                let scale = S::splat(1.0 / sum);
                each_vector!(limit, |i, k| {
                    S::store_n(p.add(i), S::mul(S::load_n(p.add(i), k), scale), k);
                });
            }
        }
    }
}

/// Turns rows of raw scores into probabilities by known log-sum-exps, and gradients of
/// probabilities into gradients of raw scores.
pub(super) struct SoftmaxGradient<'a> {
    pub head: &'a Head<'a>,
    pub block: Block,
    pub scores: &'a mut [f32],
    pub gradients: &'a mut [f32],
    pub log_sums: &'a [f32],
}

impl Kernel for SoftmaxGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Block { queries, keys } = self.block;
        assert!(self.gradients.len() == self.scores.len());
        let rows = self
            .scores
            .chunks_exact_mut(keys)
            .zip(self.gradients.chunks_exact_mut(keys));
        for ((query, (row, gradient)), log_sum) in queries.zip(rows).zip(self.log_sums) {
            // SAFETY: `k` floats are left of the rows' first `limit`
            unsafe {
                let limit = self.head.limit(query);
                let (row, hidden) = row.split_at_mut(limit);
                hidden.fill(0.0);
                gradient[limit..].fill(0.0);
                if *log_sum == f32::INFINITY {
                    row.fill(0.0);
                    gradient.fill(0.0);
                    continue;
                }
                adjust::<S>(self.head, query, row);
                let (p, g) = (row.as_mut_ptr(), gradient.as_mut_ptr());
                let log_sum = S::splat(*log_sum);
                let mut dot = S::splat(0.0);
                each_vector!(limit, |i, k| {
                    let e = exp::<S>(S::sub(S::load_n(p.add(i), k), log_sum));
                    S::store_n(p.add(i), e, k);
                    dot = S::fma(e, S::load_n(g.add(i), k), dot); // gradient is zero beyond
                });
                let dot = S::splat(S::sum(dot));
                let scale = S::splat(self.head.scale);
                each_vector!(limit, |i, k| {
                    let d = S::sub(S::load_n(g.add(i), k), dot);
                    let d = S::mul(S::mul(d, S::load_n(p.add(i), k)), scale);
                    S::store_n(g.add(i), d, k);
                });
            }
        }
    }
}

/// `scale · score + bias + padding`; returns the largest.
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
unsafe fn adjust<S: Simd>(head: &Head, query: usize, row: &mut [f32]) -> f32 {
    let bias = head.bias.map(|bias| &bias.from(query)[..row.len()]);
    assert!(
        head.padding
            .is_none_or(|padding| padding.len() >= row.len())
    );
    // SAFETY: `k` floats are left in each
    unsafe {
        let p = row.as_mut_ptr();
        let scale = S::splat(head.scale);
        let lowest = S::splat(f32::NEG_INFINITY);
        let mut top = lowest;
        each_vector!(row.len(), |i, k| {
            let mut s = S::mul(S::load_n(p.add(i), k), scale);
            if let Some(bias) = bias {
                s = S::add(s, S::load_n(bias.as_ptr().add(i), k));
            }
            if let Some(padding) = head.padding {
                s = S::add(s, S::load_n(padding.as_ptr().add(i), k));
            }
            S::store_n(p.add(i), s, k);
            top = S::max(S::first_n(s, k, lowest), top);
        });
        S::maximum(top)
    }
}

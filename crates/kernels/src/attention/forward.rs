//! Forward pass of one head.

use std::mem::MaybeUninit;

use super::head::{Head, Softmax};
use crate::host::gemm::{Left, Out, Packed, Start, product_of};
use crate::host::simd::run;

/// Buffers reused from head to head.
#[derive(Default)]
pub(super) struct Scratch {
    k: Packed,
    v: Packed,
    scores: Vec<f32>,
}

/// Writes rows `stride` apart from `out` on, and the log-sum-exps of the scores: all of them.
///
/// # Safety
/// `head` has the rows that it promises, `out` room for those of the queries, which nobody else uses.
pub(super) unsafe fn forward(
    head: &Head,
    out: *mut f32,
    stride: usize,
    log_sums: &mut [MaybeUninit<f32>],
    scratch: &mut Scratch,
) {
    let Scratch { k, v, scores } = scratch;
    k.fill(head.k.right_transposed(0), head.dim, head.keys);
    v.fill(head.v.right(0), head.keys, head.value_dim);
    for block in head.blocks() {
        let (first, rows) = (block.queries.start, block.queries.len());
        if scores.len() < block.scores() {
            scores.resize(block.scores(), 0.0);
        }
        let left = head.q.left(first, head.dim);
        let target = Out {
            ptr: scores.as_mut_ptr(),
            row: block.keys,
        };
        let seen = k.part(head.dim, 0..block.keys);
        // SAFETY: `head.q` has these rows, the caller's; `scores` has room for them
        unsafe { product_of(rows, left, seen, target, Start::Zero) };
        run(Softmax {
            head,
            block: block.clone(),
            scores: &mut scores[..block.scores()],
            log_sums: &mut log_sums[block.queries],
        });
        let left = Left::new(scores.as_ptr(), block.keys, 1, block.keys);
        let target = Out {
            ptr: out.wrapping_add(first * stride),
            row: stride,
        };
        let seen = v.part(block.keys, 0..head.value_dim);
        // SAFETY: `scores` has these rows, `out` room for them, the caller's
        unsafe { product_of(rows, left, seen, target, Start::Zero) };
    }
}

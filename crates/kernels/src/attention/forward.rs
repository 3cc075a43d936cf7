//! Forward pass of one head.

use std::mem::MaybeUninit;

use super::head::{Head, Softmax};
use crate::host::gemm::{Left, Out, Packed, Start, product};
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
        let (first, rows) = (block.start, block.len());
        if scores.len() < rows * head.keys {
            scores.resize(rows * head.keys, 0.0);
        }
        let left = head.q.left(first, head.dim);
        let target = Out {
            ptr: scores.as_mut_ptr(),
            row: head.keys,
        };
        // SAFETY: `head.q` has these rows, the caller's; `scores` has room for them
        unsafe { product(rows, left, k, target, Start::Zero) };
        run(Softmax {
            head,
            queries: block.clone(),
            scores: &mut scores[..rows * head.keys],
            log_sums: &mut log_sums[block],
        });
        let left = Left::new(scores.as_ptr(), head.keys, 1, head.keys);
        let target = Out {
            ptr: out.wrapping_add(first * stride),
            row: stride,
        };
        // SAFETY: `scores` has these rows, `out` room for them, the caller's
        unsafe { product(rows, left, v, target, Start::Zero) };
    }
}

//! Backward pass of one head: scores are computed again, block by block.

use super::head::{Head, Rows, SoftmaxGradient};
use crate::host::gemm::{Left, Out, Packed, Start, product, product_of};
use crate::host::simd::run;

/// Buffers reused from head to head.
#[derive(Default)]
pub(super) struct Scratch {
    /// Key columns, value columns, key rows; then query and gradient rows of one block.
    k_columns: Packed,
    v_columns: Packed,
    k_rows: Packed,
    q_rows: Packed,
    grad_rows: Packed,
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

/// Writes the gradient of `q` and adds to those of `k` and `v`, each a start and a row distance.
///
/// # Safety
/// `head` and `grad` have the rows that they promise; nobody else uses the rows written.
pub(super) unsafe fn backward(
    head: &Head,
    grad: Rows,
    log_sums: &[f32],
    [(dq, dq_stride), (dk, dk_stride), (dv, dv_stride)]: [(*mut f32, usize); 3],
    scratch: &mut Scratch,
) {
    let s = scratch;
    let (keys, dim, value_dim) = (head.keys, head.dim, head.value_dim);
    s.k_columns.fill(head.k.right_transposed(0), dim, keys);
    s.v_columns
        .fill(head.v.right_transposed(0), value_dim, keys);
    s.k_rows.fill(head.k.right(0), keys, dim);
    for block in head.blocks() {
        let (first, rows, seen) = (block.queries.start, block.queries.len(), block.keys);
        if s.scores.len() < block.scores() {
            s.scores.resize(block.scores(), 0.0);
            s.gradients.resize(block.scores(), 0.0);
        }
        let [scores, gradients] = [&mut s.scores, &mut s.gradients].map(|table| Out {
            ptr: table.as_mut_ptr(),
            row: seen,
        });
        let q = head.q.left(first, dim);
        let grads = grad.left(first, value_dim);
        let (k, v) = (
            s.k_columns.part(dim, 0..seen),
            s.v_columns.part(value_dim, 0..seen),
        );
        // SAFETY: the operands have these rows, the caller's; the buffers have room for them
        unsafe {
            product_of(rows, q, k, scores, Start::Zero);
            product_of(rows, grads, v, gradients, Start::Zero);
        }
        run(SoftmaxGradient {
            head,
            block: block.clone(),
            scores: &mut s.scores[..block.scores()],
            gradients: &mut s.gradients[..block.scores()],
            log_sums: &log_sums[block.queries],
        });
        s.q_rows.fill(head.q.right(first), rows, dim);
        s.grad_rows.fill(grad.right(first), rows, value_dim);
        let by_query = Left::new(s.gradients.as_ptr(), seen, 1, seen);
        let by_key = |data: &[f32]| Left::new(data.as_ptr(), 1, seen, rows);
        let dq = Out {
            ptr: dq.wrapping_add(first * dq_stride),
            row: dq_stride,
        };
        let dk = Out {
            ptr: dk,
            row: dk_stride,
        };
        let dv = Out {
            ptr: dv,
            row: dv_stride,
        };
        // SAFETY: the buffers have these rows; the gradients room for them, the caller's
        unsafe {
            product_of(rows, by_query, s.k_rows.part(seen, 0..dim), dq, Start::Zero);
            product(seen, by_key(&s.gradients), &s.q_rows, dk, Start::Accumulate);
            product(seen, by_key(&s.scores), &s.grad_rows, dv, Start::Accumulate);
        }
    }
}

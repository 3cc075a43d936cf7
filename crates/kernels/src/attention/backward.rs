//! Backward pass of one head: scores are computed again, block by block.

use super::head::{Head, Rows, SoftmaxGradient};
use crate::host::gemm::{Left, Out, Packed, Start, product};
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
        let (first, rows) = (block.start, block.len());
        if s.scores.len() < rows * keys {
            s.scores.resize(rows * keys, 0.0);
            s.gradients.resize(rows * keys, 0.0);
        }
        let scores = Out {
            ptr: s.scores.as_mut_ptr(),
            row: keys,
        };
        let gradients = Out {
            ptr: s.gradients.as_mut_ptr(),
            row: keys,
        };
        // SAFETY: the operands have these rows, the caller's; the buffers have room for them
        unsafe {
            product(
                rows,
                head.q.left(first, dim),
                &s.k_columns,
                scores,
                Start::Zero,
            );
            product(
                rows,
                grad.left(first, value_dim),
                &s.v_columns,
                gradients,
                Start::Zero,
            );
        }
        run(SoftmaxGradient {
            head,
            queries: block.clone(),
            scores: &mut s.scores[..rows * keys],
            gradients: &mut s.gradients[..rows * keys],
            log_sums: &log_sums[block],
        });
        s.q_rows.fill(head.q.right(first), rows, dim);
        s.grad_rows.fill(grad.right(first), rows, value_dim);
        let by_query = Left::new(s.gradients.as_ptr(), keys, 1, keys);
        let by_key = |data: &[f32]| Left::new(data.as_ptr(), 1, keys, rows);
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
            product(rows, by_query, &s.k_rows, dq, Start::Zero);
            product(keys, by_key(&s.gradients), &s.q_rows, dk, Start::Accumulate);
            product(keys, by_key(&s.scores), &s.grad_rows, dv, Start::Accumulate);
        }
    }
}

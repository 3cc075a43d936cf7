//! Products of two computed matrices; for weights see [`crate::linear`].

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::gemm::{Left, Out, Packed, Right, Start, product_parallel};
use crate::host::par::{self, Shared, uninit, written};
use crate::reference;

/// Matrix product over the last two axes, whose sums run in one order on every processor.
///
/// # Shapes
/// - `a`: `[.., m, k]`
/// - `b`: `[.., k, n]`, other axes as those of `a`
/// - returns `[.., m, n]`
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let (left, right) = (a.dims(), b.dims());
    assert!(
        D >= 2 && left[..D - 2] == right[..D - 2] && left[D - 1] == right[D - 2],
        "matmul: {left:?} by {right:?}"
    );
    let empty = left.contains(&0) || right.contains(&0);
    if empty || !(fused(&a) && fused(&b)) {
        return reference::matmul(a, b);
    }
    apply(Matmul, vec![a.into_dispatch(), b.into_dispatch()])
}

#[derive(Debug)]
struct Matmul;

/// Batch, rows, what is summed over, columns.
fn sizes(a: &[usize], b: &[usize]) -> [usize; 4] {
    let axes = a.len();
    let batch = a[..axes - 2].iter().product();
    [batch, a[axes - 2], a[axes - 1], b[axes - 1]]
}

/// `[m, n]` for each of a batch, from what is left and right of the product.
fn products<'a>(
    [batch, m, k, n]: [usize; 4],
    left: impl Fn(usize) -> Left + Sync,
    right: impl Fn(usize) -> Right<'a> + Sync,
) -> Vec<f32> {
    let mut y = uninit(batch * m * n);
    let shared = Shared::new(&mut y);
    par::each_part(batch, m * k * n / 32 + 1, |i| {
        let out = Out {
            ptr: shared.at(i * m * n),
            row: n,
        };
        let packed = Packed::new(right(i), k, n);
        // SAFETY: the operands have these sizes, the callers'; products are disjoint
        unsafe { product_parallel(m, left(i), &packed, out, Start::Zero) };
    });
    // SAFETY: every product has been written
    unsafe { written(y) }
}

impl HostOp for Matmul {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (a, b) = (&inputs[0], &inputs[1]);
        let [batch, m, k, n] = sizes(a.shape(), b.shape());
        let mut shape = a.shape().to_vec();
        *shape.last_mut().expect("two axes") = n;
        let (a, b) = (a.data(), b.data());
        let left = |i: usize| Left::new(a[i * m * k..][..m * k].as_ptr(), k, 1, k);
        let right = |i: usize| Right::rows(&b[i * k * n..][..k * n], n);
        Output::new(products([batch, m, k, n], left, right), &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![needs[1], needs[0]]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let [batch, m, k, n] = sizes(&saved.shapes[0], &saved.shapes[1]);
        let grad = grad.data();
        let da = needs[0].then(|| {
            let b = saved.input(1).data();
            let left = |i: usize| Left::new(grad[i * m * n..][..m * n].as_ptr(), n, 1, n);
            let right = |i: usize| Right::columns(&b[i * k * n..][..k * n], n);
            Output::new(products([batch, m, n, k], left, right), &saved.shapes[0])
        });
        let db = needs[1].then(|| {
            let a = saved.input(0).data();
            let left = |i: usize| Left::new(a[i * m * k..][..m * k].as_ptr(), 1, k, m);
            let right = |i: usize| Right::rows(&grad[i * m * n..][..m * n], n);
            Output::new(products([batch, k, m, n], left, right), &saved.shapes[1])
        });
        vec![da, db]
    }
}

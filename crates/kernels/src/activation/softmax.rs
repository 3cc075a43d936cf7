//! Softmax of rows.

use std::mem::MaybeUninit;

use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::math::{exp, maximum};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

#[derive(Debug)]
pub(super) struct Softmax;

impl HostOp for Softmax {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (shape, x) = (inputs[0].shape(), inputs[0].data());
        let n = *shape.last().expect("at least one axis");
        let mut y = uninit(shape.iter().product());
        let shared = Shared::new(&mut y);
        par::ranges(
            shape[..shape.len() - 1].iter().product(),
            1,
            n.div_ceil(4),
            |rows| {
                for row in rows {
                    // SAFETY: rows are disjoint
                    let y = unsafe { shared.slice(row * n, n) };
                    run(Forward(&x[row * n..][..n], y));
                }
            },
        );
        // SAFETY: every row has been written
        Output::new(unsafe { written(y) }, shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn keeps_output(&self) -> bool {
        true
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let y = saved.output.as_ref().expect("kept").data();
        let (shape, grad) = (&saved.shapes[0], grad.data());
        let n = *shape.last().expect("at least one axis");
        let mut dx = uninit(y.len());
        let shared = Shared::new(&mut dx);
        par::ranges(
            shape[..shape.len() - 1].iter().product(),
            1,
            n.div_ceil(8),
            |rows| {
                for row in rows {
                    let at = row * n..(row + 1) * n;
                    // SAFETY: rows are disjoint
                    let dx = unsafe { shared.slice(row * n, n) };
                    run(Backward(&y[at.clone()], &grad[at], dx));
                }
            },
        );
        // SAFETY: every row has been written
        vec![Some(Output::new(unsafe { written(dx) }, shape))]
    }
}

/// Writes the softmax of a row to all of `y`.
///
/// # Panics
/// If they are not as long as each other.
pub(crate) fn softmax_row(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    run(Forward(x, y));
}

/// A row, and its softmax.
struct Forward<'a>(&'a [f32], &'a mut [MaybeUninit<f32>]);

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.0.len();
        assert!(self.1.len() == n);
        let (x, y) = (self.0.as_ptr(), self.1.as_mut_ptr().cast::<f32>());
        // SAFETY: `k` floats are left in both; those read from `y` have been written
        unsafe {
            let top = S::splat(maximum::<S>(x, n));
            let mut sum = S::splat(0.0);
            each_vector!(n, |i, k| {
                let e = exp::<S>(S::sub(S::load_n(x.add(i), k), top));
                S::store_n(y.add(i), e, k);
                sum = S::add(sum, S::first_n(e, k, S::splat(0.0)));
            });
            let scale = S::splat(1.0 / S::sum(sum));
            each_vector!(n, |i, k| {
                S::store_n(y.add(i), S::mul(S::load_n(y.add(i), k), scale), k);
            });
        }
    }
}

/// The softmax of a row, its gradient, and that of the row.
struct Backward<'a>(&'a [f32], &'a [f32], &'a mut [MaybeUninit<f32>]);

impl Kernel for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.0.len();
        assert!(self.1.len() == n && self.2.len() == n);
        let (y, grad) = (self.0.as_ptr(), self.1.as_ptr());
        let dx = self.2.as_mut_ptr().cast::<f32>();
        // SAFETY: `k` floats are left in each
        unsafe {
            let mut dot = S::splat(0.0);
            each_vector!(n, |i, k| {
                dot = S::fma(S::load_n(y.add(i), k), S::load_n(grad.add(i), k), dot);
            });
            let dot = S::splat(S::sum(dot));
            each_vector!(n, |i, k| {
                let centred = S::sub(S::load_n(grad.add(i), k), dot);
                S::store_n(dx.add(i), S::mul(S::load_n(y.add(i), k), centred), k);
            });
        }
    }
}

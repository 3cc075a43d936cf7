//! Exponential and hyperbolic tangent, the same on every processor and system.

use std::mem::MaybeUninit;

use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::math::{exp, sigmoid};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

/// Functions whose derivative follows from their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elementary {
    Exp,
    Tanh,
}

impl HostOp for Elementary {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let y = map(*self, inputs[0].data(), None);
        Output::new(y, inputs[0].shape())
    }

    fn keeps(&self, _needs: &[bool]) -> Vec<bool> {
        vec![false]
    }

    fn keeps_output(&self) -> bool {
        true
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let y = saved.output.as_ref().expect("kept").data();
        let dx = map(*self, y, Some(grad.data()));
        vec![Some(Output::new(dx, &saved.shapes[0]))]
    }
}

/// `f(x)`, or `grad · f'` by the values of `f`.
fn map(function: Elementary, x: &[f32], grad: Option<&[f32]>) -> Vec<f32> {
    let mut y = uninit(x.len());
    let shared = Shared::new(&mut y);
    par::ranges(x.len(), 16, 1, |range| {
        // SAFETY: ranges are disjoint
        let y = unsafe { shared.slice(range.start, range.len()) };
        let grad = grad.map(|grad| &grad[range.clone()]);
        let x = &x[range];
        run(Map {
            function,
            x,
            grad,
            y,
        });
    });
    // SAFETY: ranges cover everything
    unsafe { written(y) }
}

struct Map<'a> {
    function: Elementary,
    x: &'a [f32],
    grad: Option<&'a [f32]>,
    /// All of it is written.
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Map<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.x.len();
        assert!(self.y.len() == n && self.grad.is_none_or(|grad| grad.len() == n));
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr().cast::<f32>());
        // SAFETY: `k` floats are left in each
        unsafe {
            let one = S::splat(1.0);
            match (self.grad, self.function) {
                (None, Elementary::Exp) => each_vector!(n, |i, k| {
                    S::store_n(y.add(i), exp::<S>(S::load_n(x.add(i), k)), k);
                }),
                (None, Elementary::Tanh) => each_vector!(n, |i, k| {
                    S::store_n(y.add(i), tanh::<S>(S::load_n(x.add(i), k)), k);
                }),
                (Some(grad), Elementary::Exp) => each_vector!(n, |i, k| {
                    let grad = S::load_n(grad.as_ptr().add(i), k);
                    S::store_n(y.add(i), S::mul(grad, S::load_n(x.add(i), k)), k);
                }),
                (Some(grad), Elementary::Tanh) => each_vector!(n, |i, k| {
                    let (grad, x) = (S::load_n(grad.as_ptr().add(i), k), S::load_n(x.add(i), k));
                    let slope = S::sub(one, S::mul(x, x));
                    S::store_n(y.add(i), S::mul(grad, slope), k);
                }),
            }
        }
    }
}

/// `tanh(x)`, near zero by its series, for the sake of the last digits.
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's
    unsafe {
        let two = S::splat(2.0);
        let far = S::sub(S::mul(two, sigmoid::<S>(S::mul(two, x))), S::splat(1.0));
        let square = S::mul(x, x);
        let mut series = S::splat(62.0 / 2835.0);
        for c in [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
            series = S::fma(series, square, S::splat(c));
        }
        let near = S::fma(S::mul(x, square), series, x);
        // Below 1/4 the term left out is under 4e-8 of the result.
        S::select_negative(S::sub(square, S::splat(0.0625)), near, far)
    }
}

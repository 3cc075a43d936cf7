//! Exponential, logarithm and their kin, the same on every processor and system.

use std::mem::MaybeUninit;

use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::math::{exp, gaussian, ln, sigmoid, softplus};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elementary {
    Exp,
    Gaussian,
    Log,
    Sigmoid,
    Softplus,
    Sqrt,
    Tanh,
}

impl Elementary {
    /// Whether the derivative follows from the value; else from the argument.
    fn by_value(self) -> bool {
        match self {
            Self::Exp | Self::Sigmoid | Self::Sqrt | Self::Tanh => true,
            Self::Gaussian | Self::Log | Self::Softplus => false,
        }
    }
}

impl HostOp for Elementary {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let y = map(*self, inputs[0].data(), None);
        Output::new(y, inputs[0].shape())
    }

    fn keeps(&self, _needs: &[bool]) -> Vec<bool> {
        vec![!self.by_value()]
    }

    fn keeps_output(&self) -> bool {
        self.by_value()
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let known = if self.by_value() {
            saved.output.as_ref().expect("kept")
        } else {
            saved.input(0)
        };
        let dx = map(*self, known.data(), Some(grad.data()));
        vec![Some(Output::new(dx, &saved.shapes[0]))]
    }
}

/// `f(x)`; or `grad · f'`, where `x` is what the derivative [follows from](Elementary::by_value).
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
        /// A function of each vector.
        macro_rules! values {
            (|$v:ident| $value:expr) => {
                each_vector!(n, |i, k| {
                    let $v = S::load_n(x.add(i), k);
                    S::store_n(y.add(i), $value, k);
                })
            };
        }
        /// A function of each number.
        macro_rules! scalars {
            ($function:ident) => {
                for i in 0..n {
                    y.add(i).write($function(*x.add(i)));
                }
            };
        }
        /// The gradient times a function of each vector.
        macro_rules! slopes {
            ($grad:ident, |$v:ident| $slope:expr) => {
                each_vector!(n, |i, k| {
                    let $v = S::load_n(x.add(i), k);
                    let grad = S::load_n($grad.as_ptr().add(i), k);
                    S::store_n(y.add(i), S::mul(grad, $slope), k);
                })
            };
        }
        // SAFETY: `k` floats are left in each
        unsafe {
            let (one, half) = (S::splat(1.0), S::splat(0.5));
            match (self.grad, self.function) {
                (None, Elementary::Exp) => values!(|x| exp::<S>(x)),
                (None, Elementary::Gaussian) => values!(|x| gaussian::<S>(x).0),
                (None, Elementary::Log) => scalars!(ln),
                (None, Elementary::Sigmoid) => values!(|x| sigmoid::<S>(x)),
                (None, Elementary::Softplus) => scalars!(softplus),
                (None, Elementary::Sqrt) => values!(|x| S::sqrt(x)),
                (None, Elementary::Tanh) => values!(|x| tanh::<S>(x)),
                (Some(grad), Elementary::Exp) => slopes!(grad, |y| y),
                (Some(grad), Elementary::Gaussian) => slopes!(grad, |x| gaussian::<S>(x).1),
                (Some(grad), Elementary::Log) => slopes!(grad, |x| S::div(one, x)),
                (Some(grad), Elementary::Sigmoid) => slopes!(grad, |y| S::mul(y, S::sub(one, y))),
                (Some(grad), Elementary::Softplus) => slopes!(grad, |x| sigmoid::<S>(x)),
                (Some(grad), Elementary::Sqrt) => slopes!(grad, |y| S::div(half, y)),
                (Some(grad), Elementary::Tanh) => slopes!(grad, |y| S::sub(one, S::mul(y, y))),
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

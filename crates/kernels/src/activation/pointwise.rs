//! Activations of one value.

use std::mem::MaybeUninit;

use super::Function;
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::math::{gaussian, sigmoid};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

/// `f(x)` and `f'(x)`; what is not used is not computed.
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
pub(super) unsafe fn evaluate<S: Simd, const F: u8>(x: S::V) -> (S::V, S::V) {
    const SILU: u8 = Function::Silu as u8;
    const QUICK: u8 = Function::QuickGelu as u8;
    const TANH: u8 = Function::GeluTanh as u8;
    // SAFETY: the caller's
    unsafe {
        let one = S::splat(1.0);
        match F {
            SILU | QUICK => {
                let scale = S::splat(if F == SILU { 1.0 } else { 1.702 });
                let u = S::mul(x, scale);
                let s = sigmoid::<S>(u);
                // s + u s (1 - s)
                let slope = S::fma(S::mul(u, s), S::sub(one, s), s);
                (S::mul(x, s), slope)
            }
            TANH => {
                // (1 + tanh(u / 2)) / 2 = sigmoid(u)
                let root = 2.0 * (2.0 / std::f32::consts::PI).sqrt();
                let square = S::mul(x, x);
                let inner = S::fma(square, S::splat(0.044_715 * root), S::splat(root));
                let s = sigmoid::<S>(S::mul(x, inner));
                let du = S::fma(square, S::splat(3.0 * 0.044_715 * root), S::splat(root));
                let slope = S::fma(S::mul(S::mul(x, s), S::sub(one, s)), du, s);
                (S::mul(x, s), slope)
            }
            _ => {
                let (distribution, density) = gaussian::<S>(x);
                (S::mul(x, distribution), S::fma(x, density, distribution))
            }
        }
    }
}

/// Calls a kernel's generic method with the function as a constant.
macro_rules! with_function {
    ($function:expr, $self:ident . $method:ident :: <$simd:ty>()) => {
        match $function {
            Function::Gelu => $self.$method::<$simd, { Function::Gelu as u8 }>(),
            Function::GeluTanh => $self.$method::<$simd, { Function::GeluTanh as u8 }>(),
            Function::QuickGelu => $self.$method::<$simd, { Function::QuickGelu as u8 }>(),
            Function::Silu => $self.$method::<$simd, { Function::Silu as u8 }>(),
        }
    };
}
pub(super) use with_function;

#[derive(Debug)]
pub(super) struct Pointwise(pub Function);

impl HostOp for Pointwise {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let x = inputs[0].data();
        Output::new(map(self.0, x, None), inputs[0].shape())
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        needs.to_vec()
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let dx = map(self.0, saved.input(0).data(), Some(grad.data()));
        vec![Some(Output::new(dx, &saved.shapes[0]))]
    }
}

/// `f(x)`, or `grad · f'(x)`.
fn map(function: Function, x: &[f32], grad: Option<&[f32]>) -> Vec<f32> {
    let mut y = uninit(x.len());
    let shared = Shared::new(&mut y);
    par::ranges(x.len(), 16, 1, |range| {
        // SAFETY: ranges are disjoint
        let y = unsafe { shared.slice(range.start, range.len()) };
        let grad = grad.map(|grad| &grad[range.clone()]);
        run(Map {
            function,
            x: &x[range],
            grad,
            y,
        });
    });
    // SAFETY: ranges cover everything
    unsafe { written(y) }
}

pub(super) struct Map<'a> {
    pub function: Function,
    pub x: &'a [f32],
    pub grad: Option<&'a [f32]>,
    /// All of it is written.
    pub y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Map<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's
        unsafe { with_function!(self.function, self.map::<S>()) }
    }
}

impl Map<'_> {
    /// # Safety
    /// See [`Simd`].
    #[inline(always)]
    unsafe fn map<S: Simd, const F: u8>(self) {
        let n = self.x.len();
        assert!(self.y.len() == n && self.grad.is_none_or(|grad| grad.len() == n));
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr().cast::<f32>());
        // SAFETY: `k` floats are left in each
        unsafe {
            match self.grad {
                None => each_vector!(n, |i, k| {
                    let (value, _) = evaluate::<S, F>(S::load_n(x.add(i), k));
                    S::store_n(y.add(i), value, k);
                }),
                Some(grad) => each_vector!(n, |i, k| {
                    let (_, slope) = evaluate::<S, F>(S::load_n(x.add(i), k));
                    let grad = S::load_n(grad.as_ptr().add(i), k);
                    S::store_n(y.add(i), S::mul(grad, slope), k);
                }),
            }
        }
    }
}

//! Rotary position encoding (Su et al. 2021).

use std::mem::MaybeUninit;

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::reference;

/// `x · cos + rotate_half(x) · sin`, where `rotate_half` maps halves `(a, b)` to `(-b, a)`.
///
/// # Shapes
/// - `x`: `[batch, heads, seq, dim]`, even `dim`
/// - `cos`, `sin`: `[batch or 1, seq, dim]`; tables that need a gradient take the reference path
/// - returns the shape of `x`
///
/// # Panics
/// If the shapes do not fit.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let [batch, _, seq, dim] = x.dims();
    let fits = |table: &Tensor<3>| {
        let dims = table.dims();
        (dims[0] == 1 || dims[0] == batch) && dims[1..] == [seq, dim]
    };
    assert!(
        dim.is_multiple_of(2) && fits(&cos) && fits(&sin),
        "rotary: x {:?}, cos {:?}, sin {:?}",
        x.dims(),
        cos.dims(),
        sin.dims()
    );
    if !(fused(&x) && fused(&cos) && fused(&sin)) || cos.is_tracked() || sin.is_tracked() {
        return reference::rotary(x, cos, sin);
    }
    apply(
        Rotary,
        vec![x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch()],
    )
}

#[derive(Debug)]
struct Rotary;

impl HostOp for Rotary {
    fn strided(&self) -> bool {
        true
    }

    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        rotate(&inputs[0], &inputs[1], &inputs[2], 1.0)
    }

    fn keeps(&self, _needs: &[bool]) -> Vec<bool> {
        vec![false, true, true]
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        vec![
            Some(rotate(grad, saved.input(1), saved.input(2), -1.0)),
            None,
            None,
        ]
    }
}

/// The rotation (`sign` 1), or its transpose (`sign` -1).
fn rotate(x: &Host, cos: &Host, sin: &Host, sign: f32) -> Output {
    let shape = x.shape();
    let [heads, seq, dim] = [shape[1], shape[2], shape[3]];
    let xs = [0, 1, 2].map(|axis| x.stride(axis));
    let table = |table: &Host| {
        let batch = if table.shape()[0] == 1 {
            0
        } else {
            table.stride(0)
        };
        (batch, table.stride(1))
    };
    let ((cos_batch, cos_row), (sin_batch, sin_row)) = (table(cos), table(sin));
    let (x, cos, sin) = (x.data(), cos.data(), sin.data());
    let mut y = uninit(shape.iter().product());
    let shared = Shared::new(&mut y);
    par::ranges(shape[0] * heads, 1, seq * dim.div_ceil(8), |range| {
        for index in range {
            let (b, head) = (index / heads, index % heads);
            run(Head {
                dim,
                x: &x[b * xs[0] + head * xs[1]..],
                cos: &cos[b * cos_batch..],
                sin: &sin[b * sin_batch..],
                strides: [xs[2], cos_row, sin_row],
                sign,
                // SAFETY: heads are disjoint
                y: unsafe { shared.slice(index * seq * dim, seq * dim) },
            });
        }
    });
    // SAFETY: every head has written its rows
    Output::new(unsafe { written(y) }, shape)
}

/// One head; rows of `x`, `cos` and `sin` are `strides` apart.
struct Head<'a> {
    dim: usize,
    x: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    strides: [usize; 3],
    sign: f32,
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Head<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (row, y) in self.y.chunks_exact_mut(self.dim).enumerate() {
            let part = |data: &'_ [f32], stride: usize| data[row * stride..][..self.dim].as_ptr();
            let x = part(self.x, self.strides[0]);
            let cos = part(self.cos, self.strides[1]);
            let sin = part(self.sin, self.strides[2]);
            // SAFETY: all rows are `dim` floats
            unsafe {
                let y = y.as_mut_ptr().cast();
                rotate_row::<S>(self.dim / 2, x, [cos, sin], self.sign, y);
            }
        }
    }
}

/// # Safety
/// All rows have `2 * half` floats, or room for them; see [`Simd`].
#[inline(always)]
unsafe fn rotate_row<S: Simd>(
    half: usize,
    x: *const f32,
    [cos, sin]: [*const f32; 2],
    sign: f32,
    y: *mut f32,
) {
    let forward = sign > 0.0;
    // SAFETY: the caller's
    unsafe {
        let sign = S::splat(sign);
        each_vector!(half, |i, k| {
            let (a, b) = (S::load_n(x.add(i), k), S::load_n(x.add(half + i), k));
            let (ca, cb) = (S::load_n(cos.add(i), k), S::load_n(cos.add(half + i), k));
            let (sa, sb) = (S::load_n(sin.add(i), k), S::load_n(sin.add(half + i), k));
            // The transpose exchanges the two sine tables and their signs.
            let (sa, sb) = if forward { (sa, sb) } else { (sb, sa) };
            let b_part = S::mul(S::mul(b, sa), sign);
            S::store_n(y.add(i), S::sub(S::mul(a, ca), b_part), k);
            let a_part = S::mul(S::mul(a, sb), sign);
            S::store_n(y.add(half + i), S::fma(b, cb, a_part), k);
        });
    }
}

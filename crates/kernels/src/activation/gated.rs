//! `value · f(gate)`.

use std::mem::MaybeUninit;

use super::Function;
use super::pointwise::{evaluate, with_function};
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

/// Value and gate are two inputs, or the two halves of one input's last axis.
#[derive(Debug)]
pub(super) struct Gated {
    pub function: Function,
    pub halves: bool,
}

impl Gated {
    /// Rows, values per row, distance of rows.
    fn geometry(&self, shape: &[usize]) -> (usize, usize, usize) {
        if self.halves {
            let width = *shape.last().expect("at least one axis");
            (
                shape.iter().product::<usize>() / width.max(1),
                width / 2,
                width,
            )
        } else {
            let n = shape.iter().product();
            (1, n, n)
        }
    }

    fn operands<'a>(&self, first: &'a Host, second: Option<&'a Host>) -> (&'a [f32], &'a [f32]) {
        match second {
            Some(gate) => (first.data(), gate.data()),
            None => {
                let half = first.shape().last().expect("at least one axis") / 2;
                (first.data(), &first.data()[half..])
            }
        }
    }
}

/// `silu(gate) · up`, of as many numbers each.
pub(crate) fn swiglu_values(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len());
    let mut y = uninit(up.len());
    let shared = Shared::new(&mut y);
    each_piece(1, up.len(), |_, from, len| {
        run(Forward {
            function: Function::Silu,
            value: &up[from..][..len],
            gate: &gate[from..][..len],
            // SAFETY: pieces are disjoint
            y: unsafe { shared.slice(from, len) },
        });
    });
    // SAFETY: every piece has been written
    unsafe { written(y) }
}

impl HostOp for Gated {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (rows, n, stride) = self.geometry(inputs[0].shape());
        let (value, gate) = self.operands(&inputs[0], inputs.get(1));
        let mut shape = inputs[0].shape().to_vec();
        if self.halves {
            *shape.last_mut().expect("at least one axis") = n;
        }
        let mut y = uninit(rows * n);
        let shared = Shared::new(&mut y);
        each_piece(rows, n, |row, from, len| {
            let at = row * stride + from;
            run(Forward {
                function: self.function,
                value: &value[at..at + len],
                gate: &gate[at..at + len],
                // SAFETY: pieces are disjoint
                y: unsafe { shared.slice(row * n + from, len) },
            });
        });
        // SAFETY: every piece has been written
        Output::new(unsafe { written(y) }, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![needs.contains(&true); needs.len()]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let shape = &saved.shapes[0];
        let (rows, n, stride) = self.geometry(shape);
        let second = saved.inputs.get(1).and_then(Option::as_ref);
        let (value, gate) = self.operands(saved.input(0), second);
        let mut first = uninit(rows * stride);
        let mut other = uninit(if self.halves { 0 } else { rows * stride });
        let dvalue = Shared::new(&mut first);
        let dgate = if self.halves {
            dvalue
        } else {
            Shared::new(&mut other)
        };
        let offset = if self.halves { n } else { 0 };
        let grad = grad.data();
        each_piece(rows, n, |row, from, len| {
            let at = row * stride + from;
            // SAFETY: pieces are disjoint, and so are values and gates
            let (dvalue, dgate) = unsafe { (dvalue.slice(at, len), dgate.slice(at + offset, len)) };
            run(Backward {
                function: self.function,
                value: &value[at..at + len],
                gate: &gate[at..at + len],
                grad: &grad[row * n + from..][..len],
                dvalue,
                dgate,
            });
        });
        // SAFETY: every piece has been written, of both
        let (first, other) = unsafe { (written(first), written(other)) };
        if self.halves {
            return vec![Some(Output::new(first, shape))];
        }
        vec![
            needs[0].then(|| Output::new(first, shape)),
            needs[1].then(|| Output::new(other, shape)),
        ]
    }
}

/// Calls `body(row, from, len)` on pieces of rows, in parallel.
fn each_piece(rows: usize, n: usize, body: impl Fn(usize, usize, usize) + Sync) {
    if rows == 1 {
        par::ranges(n, 16, 2, |range| body(0, range.start, range.len()));
    } else {
        par::ranges(rows, 1, n.div_ceil(8), |range| {
            range.for_each(|row| body(row, 0, n))
        });
    }
}

pub(super) struct Forward<'a> {
    pub function: Function,
    pub value: &'a [f32],
    pub gate: &'a [f32],
    /// All of it is written.
    pub y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's
        unsafe { with_function!(self.function, self.forward::<S>()) }
    }
}

impl Forward<'_> {
    /// # Safety
    /// See [`Simd`].
    #[inline(always)]
    unsafe fn forward<S: Simd, const F: u8>(self) {
        let n = self.y.len();
        assert!(self.value.len() == n && self.gate.len() == n);
        let y = self.y.as_mut_ptr().cast::<f32>();
        // SAFETY: `k` floats are left in each
        unsafe {
            each_vector!(n, |i, k| {
                let value = S::load_n(self.value.as_ptr().add(i), k);
                let (f, _) = evaluate::<S, F>(S::load_n(self.gate.as_ptr().add(i), k));
                S::store_n(y.add(i), S::mul(value, f), k);
            });
        }
    }
}

pub(super) struct Backward<'a> {
    pub function: Function,
    pub value: &'a [f32],
    pub gate: &'a [f32],
    pub grad: &'a [f32],
    /// All of it is written, and of the next.
    pub dvalue: &'a mut [MaybeUninit<f32>],
    pub dgate: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's
        unsafe { with_function!(self.function, self.backward::<S>()) }
    }
}

impl Backward<'_> {
    /// # Safety
    /// See [`Simd`].
    #[inline(always)]
    unsafe fn backward<S: Simd, const F: u8>(self) {
        let n = self.grad.len();
        assert!([self.value.len(), self.gate.len()] == [n; 2]);
        assert!([self.dvalue.len(), self.dgate.len()] == [n; 2]);
        let dvalue = self.dvalue.as_mut_ptr().cast::<f32>();
        let dgate = self.dgate.as_mut_ptr().cast::<f32>();
        // SAFETY: `k` floats are left in each
        unsafe {
            each_vector!(n, |i, k| {
                let value = S::load_n(self.value.as_ptr().add(i), k);
                let grad = S::load_n(self.grad.as_ptr().add(i), k);
                let (f, slope) = evaluate::<S, F>(S::load_n(self.gate.as_ptr().add(i), k));
                S::store_n(dvalue.add(i), S::mul(grad, f), k);
                let slope = S::mul(S::mul(grad, value), slope);
                S::store_n(dgate.add(i), slope, k);
            });
        }
    }
}

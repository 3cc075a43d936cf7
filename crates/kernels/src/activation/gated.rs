//! `value · f(gate)`.

use super::Function;
use super::pointwise::{evaluate, with_function};
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::par::{self, Shared, uninit};
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
        Output::new(y, &shape)
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
        let mut other = if self.halves {
            Vec::new()
        } else {
            uninit(rows * stride)
        };
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
    pub y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        unsafe { with_function!(self.function, self.forward::<S>()) }
    }
}

impl Forward<'_> {
    #[inline(always)]
    unsafe fn forward<S: Simd, const F: u8>(self) {
        unsafe {
            each_vector!(S, self.y.len(), |i, k| {
                let value = S::load_n(self.value.as_ptr().add(i), k);
                let (f, _) = evaluate::<S, F>(S::load_n(self.gate.as_ptr().add(i), k));
                S::store_n(self.y.as_mut_ptr().add(i), S::mul(value, f), k);
            });
        }
    }
}

pub(super) struct Backward<'a> {
    pub function: Function,
    pub value: &'a [f32],
    pub gate: &'a [f32],
    pub grad: &'a [f32],
    pub dvalue: &'a mut [f32],
    pub dgate: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        unsafe { with_function!(self.function, self.backward::<S>()) }
    }
}

impl Backward<'_> {
    #[inline(always)]
    unsafe fn backward<S: Simd, const F: u8>(self) {
        unsafe {
            each_vector!(S, self.grad.len(), |i, k| {
                let value = S::load_n(self.value.as_ptr().add(i), k);
                let grad = S::load_n(self.grad.as_ptr().add(i), k);
                let (f, slope) = evaluate::<S, F>(S::load_n(self.gate.as_ptr().add(i), k));
                S::store_n(self.dvalue.as_mut_ptr().add(i), S::mul(grad, f), k);
                let dgate = S::mul(S::mul(grad, value), slope);
                S::store_n(self.dgate.as_mut_ptr().add(i), dgate, k);
            });
        }
    }
}

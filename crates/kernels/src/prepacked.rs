//! Frozen weights that are packed once, for all products with them: what answers are made with.
//!
//! [`crate::linear`] packs its weight at every call, or where rows are few reads it as it lies, and then sums in another
//! order. Here a sum runs over the inputs in order, from the bias on, each step rounded once, whatever the number of
//! rows: a row's result is the same, to the last bit, alone and among others, of a prompt or of a single new token.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};

use crate::activation::{Function, activate_columns};
use crate::host::custom::{Host, HostOp, Output, Saved, apply, eager, plain};
use crate::host::element::Elements;
use crate::host::gemm::{BLOCK, Left, Out, Packed, Start, product_of};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::LANES;
use crate::linear::rows_of;

/// A matrix `[rows, columns]` as products with its transpose want it. Copies share it.
#[derive(Clone)]
pub struct PrepackedMatrix(Arc<Panels>);

/// As its numbers were.
enum Panels {
    F32(Packed),
    F16(Packed<f16>),
    Bf16(Packed<bf16>),
}

/// `$f` for the panels, whatever their type.
macro_rules! with_panels {
    ($matrix:expr, |$panels:ident| $f:expr) => {
        match &*$matrix.0 {
            Panels::F32($panels) => $f,
            Panels::F16($panels) => $f,
            Panels::Bf16($panels) => $f,
        }
    };
}

impl fmt::Debug for PrepackedMatrix {
    /// Its shape: `576x1536`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.shape();
        write!(f, "{rows}x{columns}")
    }
}

impl PrepackedMatrix {
    /// A weight as it is, in 32 or in 16 bits. `None` if it is not on the CPU, or its gradient may be asked for.
    pub fn new(weight: &Tensor<2>) -> Option<Self> {
        let known = matches!(weight.dtype(), DType::F32 | DType::F16 | DType::BF16);
        if !known || weight.device() != Device::flex() || weight.is_autodiff() {
            return None;
        }
        let [rows, columns] = weight.dims();
        let weight = plain(weight.clone());
        Some(Self(Arc::new(match weight.elements() {
            Elements::F32(numbers) => Panels::F32(Packed::keeping(numbers, columns, rows)),
            Elements::F16(numbers) => Panels::F16(Packed::keeping(numbers, columns, rows)),
            Elements::Bf16(numbers) => Panels::Bf16(Packed::keeping(numbers, columns, rows)),
        })))
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        with_panels!(self, |panels| [panels.n, panels.k])
    }

    /// Its numbers, `[rows, columns]`, of the type that they had.
    pub fn unpack(&self) -> TensorData {
        let [rows, columns] = self.shape();
        let each = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        self.numbers(each, rows)
    }

    /// Some of its rows, one after the other: `[rows, columns]`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&self, rows: &[i64]) -> TensorData {
        let columns = self.shape()[1];
        let each = rows
            .iter()
            .flat_map(|row| (0..columns).map(move |column| (*row as usize, column)));
        self.numbers(each, rows.len())
    }

    fn numbers(&self, each: impl Iterator<Item = (usize, usize)>, rows: usize) -> TensorData {
        with_panels!(self, |panels| {
            let numbers: Vec<_> = each.map(|(row, column)| panels.at(column, row)).collect();
            TensorData::new(numbers, [rows, panels.k])
        })
    }

    fn panels(&self) -> usize {
        with_panels!(self, |panels| panels.panels())
    }

    /// Writes the columns of some panels, of `rows` rows.
    ///
    /// # Safety
    /// As for [`product_of`].
    unsafe fn multiply(
        &self,
        rows: usize,
        left: Left,
        panels: Range<usize>,
        out: Out,
        start: Start,
    ) {
        // SAFETY: the caller's
        with_panels!(self, |b| unsafe {
            let columns = panels.start * LANES..b.n.min(panels.end * LANES);
            product_of(rows, left, b.part(b.k, columns), out, start)
        });
    }
}

/// `y = x · weightᵀ + bias` over the last axis; each sum runs in one order, whatever the number of rows.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - returns `[.., out]`
///
/// # Panics
/// If the shapes do not fit.
pub fn prepacked_linear<const D: usize>(
    x: Tensor<D>,
    weight: &PrepackedMatrix,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let (dims, [outputs, inputs]) = (x.dims(), weight.shape());
    assert_eq!(
        dims[D - 1],
        inputs,
        "prepacked_linear: {dims:?} against {weight:?}"
    );
    if !eager(&x) || bias.as_ref().is_some_and(|bias| !eager(bias)) {
        return crate::linear(x.clone(), unpacked(weight, &x), bias);
    }
    let mut tensors = vec![x.into_dispatch()];
    if let Some(bias) = bias {
        assert_eq!(bias.dims(), [outputs], "prepacked_linear: bias");
        tensors.push(bias.into_dispatch());
    }
    apply(PrepackedLinear(weight.clone()), tensors)
}

/// `(silu(x · gateᵀ) · (x · upᵀ)) · downᵀ`, LLaMA's MLP; sums as in [`prepacked_linear`].
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `gate`, `up`: `[hidden, in]`
/// - `down`: `[out, hidden]`
/// - returns `[.., out]`
///
/// # Panics
/// If the shapes do not fit.
pub fn prepacked_swiglu_mlp<const D: usize>(
    x: Tensor<D>,
    gate: &PrepackedMatrix,
    up: &PrepackedMatrix,
    down: &PrepackedMatrix,
) -> Tensor<D> {
    assert_eq!(gate.shape(), up.shape(), "prepacked_swiglu_mlp: gate, up");
    assert_eq!(up.shape()[0], down.shape()[1], "prepacked_swiglu_mlp: down");
    assert_eq!(x.dims()[D - 1], up.shape()[1], "prepacked_swiglu_mlp: x");
    if !eager(&x) {
        let [gate, up, down] = [gate, up, down].map(|weight| unpacked(weight, &x));
        return crate::swiglu_mlp(x, gate, up, down);
    }
    let op = PrepackedMlp([gate, up, down].map(PrepackedMatrix::clone));
    apply(op, vec![x.into_dispatch()])
}

/// The matrix as a constant beside `x`.
fn unpacked<const D: usize>(weight: &PrepackedMatrix, x: &Tensor<D>) -> Tensor<2> {
    let data = weight.unpack();
    let dtype = data.dtype();
    Tensor::from_data(data, (&x.device(), dtype))
}

#[derive(Debug)]
struct PrepackedLinear(PrepackedMatrix);

/// `x [rows, k] · weight[n, k]ᵀ + bias`. Few rows are multiplied by all threads at once, each with columns of its own.
fn affine(x: &[f32], rows: usize, weight: &PrepackedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
    let [n, k] = weight.shape();
    assert!(x.len() >= rows * k && bias.is_none_or(|bias| bias.len() == n));
    let mut y = uninit(rows * n);
    let shared = Shared::new(&mut y);
    let start = bias.map_or(Start::Zero, Start::Bias);
    let (left, out) = (Left::new(x.as_ptr(), k, 1, k), || Out {
        ptr: shared.at(0),
        row: n,
    });
    if rows <= BLOCK {
        par::ranges(weight.panels(), 2, rows * k / 2 + 1, |panels| {
            // SAFETY: `x` has the rows, and panels have columns of their own
            unsafe { weight.multiply(rows, left, panels, out(), start) };
        });
    } else {
        par::ranges(rows, 12, k * n / 32 + 1, |range| {
            let (left, out) = (left.skip(range.start), out().skip(range.start));
            // SAFETY: `x` has the rows, which are disjoint
            unsafe { weight.multiply(range.len(), left, 0..weight.panels(), out, start) };
        });
    }
    // SAFETY: all columns of all rows have been written
    unsafe { written(y) }
}

impl HostOp for PrepackedLinear {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (rows, shape) = rows_of(inputs[0].shape(), self.0.shape()[0]);
        let y = affine(
            inputs[0].data(),
            rows,
            &self.0,
            inputs.get(1).map(Host::data),
        );
        Output::new(y, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn backward(&self, _grad: &Host, _saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        unreachable!("inputs on the gradient graph take the unpacked weight: {needs:?}")
    }
}

/// Gate, up, down.
#[derive(Debug)]
struct PrepackedMlp([PrepackedMatrix; 3]);

impl PrepackedMlp {
    /// Few rows: all threads share the columns of the hidden layer, then those of the output.
    fn few(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let [gate, up, down] = &self.0;
        let [inner, k] = up.shape();
        let mut hidden = uninit(rows * 2 * inner);
        let mut active = uninit(rows * inner);
        let (h, a) = (Shared::new(&mut hidden), Shared::new(&mut active));
        let left = Left::new(x.as_ptr(), k, 1, k);
        let out = |column: usize| Out {
            ptr: h.at(column),
            row: 2 * inner,
        };
        par::ranges(up.panels(), 2, rows * (k + 10) + 1, |panels| {
            let columns = panels.start * LANES..inner.min(panels.end * LANES);
            // SAFETY: `x` has the rows, panels have columns of their own, which are written before they are read
            unsafe {
                up.multiply(rows, left, panels.clone(), out(0), Start::Zero);
                gate.multiply(rows, left, panels, out(inner), Start::Zero);
                for row in 0..rows {
                    let value = h.slice(row * 2 * inner + columns.start, columns.len());
                    let gate = h.slice(row * 2 * inner + inner + columns.start, columns.len());
                    let active = a.slice(row * inner + columns.start, columns.len());
                    activate_columns(
                        Function::Silu,
                        value.assume_init_ref(),
                        gate.assume_init_ref(),
                        active,
                    );
                }
            }
        });
        // SAFETY: all columns of all rows have been written
        affine(&unsafe { written(active) }, rows, down, None)
    }

    /// Many rows: blocks of them through all layers.
    fn many(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let [gate, up, down] = &self.0;
        let ([inner, k], n) = (up.shape(), down.shape()[0]);
        let mut y = uninit(rows * n);
        let shared = Shared::new(&mut y);
        let cost = (2 * k + n) * inner / 32 + 1;
        par::ranges(rows, 12, cost, |range| {
            let block = BLOCK.min(range.len());
            let mut hidden = [uninit(block * inner), uninit(block * inner)];
            let mut active = uninit(block * inner);
            for first in range.clone().step_by(BLOCK) {
                let rows = BLOCK.min(range.end - first);
                let left = Left::new(x[first * k..].as_ptr(), k, 1, k);
                for (hidden, weight) in hidden.iter_mut().zip([up, gate]) {
                    let out = Out {
                        ptr: hidden.as_mut_ptr().cast(),
                        row: inner,
                    };
                    // SAFETY: `rows` rows are left in `x`, and there is room for them
                    unsafe { weight.multiply(rows, left, 0..weight.panels(), out, Start::Zero) };
                }
                let [value, gate] = hidden.each_ref().map(|hidden| {
                    // SAFETY: all columns of these rows have just been written
                    unsafe { hidden[..rows * inner].assume_init_ref() }
                });
                activate_columns(Function::Silu, value, gate, &mut active[..rows * inner]);
                let left = Left::new(active.as_ptr().cast(), inner, 1, inner);
                let out = Out {
                    ptr: shared.at(first * n),
                    row: n,
                };
                // SAFETY: the rows are in `active`, and left in `y`; rows are disjoint
                unsafe { down.multiply(rows, left, 0..down.panels(), out, Start::Zero) };
            }
        });
        // SAFETY: every row has been written
        unsafe { written(y) }
    }
}

impl HostOp for PrepackedMlp {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (rows, shape) = rows_of(inputs[0].shape(), self.0[2].shape()[0]);
        let x = inputs[0].data();
        assert!(x.len() >= rows * self.0[1].shape()[1]);
        let y = if rows <= BLOCK {
            self.few(x, rows)
        } else {
            self.many(x, rows)
        };
        Output::new(y, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn backward(&self, _grad: &Host, _saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        unreachable!("inputs on the gradient graph take the unpacked weights: {needs:?}")
    }
}

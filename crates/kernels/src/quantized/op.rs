//! Packed matrices as weights of operations on tensors.

use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Activations, PackedMatrix, product};
use crate::activation::swiglu_values;
use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::element::Elements;
use crate::linear::{column_sums, input_gradient, rows_of};
use crate::reference;

/// `y = x · weightᵀ + bias` over the last axis, with a packed weight.
///
/// `x` is rounded to 8 bits in groups of 32, see the head of this module; its gradient is that of the product with the
/// unpacked weight, of which that of the rounding is none.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - returns `[.., out]`, of the type of `x`
///
/// # Panics
/// If the shapes do not fit.
pub fn packed_linear<const D: usize>(
    x: Tensor<D>,
    weight: &PackedMatrix,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let (dims, [outputs, inputs]) = (x.dims(), weight.shape());
    assert_eq!(
        dims[D - 1],
        inputs,
        "packed_linear: {dims:?} against {weight:?}"
    );
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [outputs], "packed_linear: bias");
    }
    if !fused(&x) {
        let weight = unpacked(weight, &x.device(), x.dtype());
        return reference::linear(x, weight, bias);
    }
    let mut tensors = vec![x.into_dispatch()];
    tensors.extend(bias.map(Tensor::into_dispatch));
    apply(PackedLinear(weight.clone()), tensors)
}

/// `(silu(x · gateᵀ) · (x · upᵀ)) · downᵀ`, LLaMA's MLP, with packed weights.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `gate`, `up`: `[hidden, in]`
/// - `down`: `[out, hidden]`
/// - returns `[.., out]`
///
/// # Panics
/// If the shapes do not fit.
pub fn packed_swiglu_mlp<const D: usize>(
    x: Tensor<D>,
    gate: &PackedMatrix,
    up: &PackedMatrix,
    down: &PackedMatrix,
) -> Tensor<D> {
    assert_eq!(gate.shape(), up.shape(), "packed_swiglu_mlp: gate and up");
    assert_eq!(up.shape()[0], down.shape()[1], "packed_swiglu_mlp: down");
    if !fused(&x) || x.is_tracked() {
        let hidden = crate::swiglu(
            packed_linear(x.clone(), gate, None),
            packed_linear(x, up, None),
        );
        return packed_linear(hidden, down, None);
    }
    assert_eq!(x.dims()[D - 1], up.shape()[1], "packed_swiglu_mlp: x");
    let op = PackedMlp([gate, up, down].map(PackedMatrix::clone));
    apply(op, vec![x.into_dispatch()])
}

/// Rows of a packed matrix, as of a table of embeddings.
///
/// # Shapes
/// - returns `[rows, columns]`, in 32 bits, a constant
///
/// # Panics
/// If there is no such row.
pub fn packed_rows(table: &PackedMatrix, rows: &[i64], device: &Device) -> Tensor<2> {
    let numbers = table.unpack_rows(rows.iter().map(|row| *row as usize));
    let data = TensorData::new(numbers, [rows.len(), table.shape()[1]]);
    Tensor::from_data(data, (device, DType::F32))
}

fn unpacked(weight: &PackedMatrix, device: &Device, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(weight.unpack(), weight.shape());
    Tensor::from_data(data, (device, dtype))
}

struct PackedLinear(PackedMatrix);

impl fmt::Debug for PackedLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedLinear {:?}", self.0)
    }
}

impl HostOp for PackedLinear {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let [outputs, columns] = self.0.shape();
        let (rows, shape) = rows_of(inputs[0].shape(), outputs);
        let left = Activations::new(inputs[0].data(), rows, columns);
        let y = product(&left, &self.0, inputs.get(1).map(Host::data));
        Output::new(y, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let [outputs, columns] = self.0.shape();
        let (rows, _) = rows_of(&saved.shapes[0], outputs);
        let dx = needs[0].then(|| {
            let weight = self.0.unpack();
            let weight = Elements::F32(&weight);
            let data = input_gradient(grad.data(), rows, weight, [outputs, columns]);
            Output::new(data, &saved.shapes[0])
        });
        let db = (needs.len() > 1 && needs[1])
            .then(|| Output::new(column_sums(grad.data(), rows, outputs), &saved.shapes[1]));
        vec![dx, db]
    }
}

/// Gate, up, down.
struct PackedMlp([PackedMatrix; 3]);

impl fmt::Debug for PackedMlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedMlp {:?}", self.0)
    }
}

impl HostOp for PackedMlp {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let [gate, up, down] = &self.0;
        let [hidden, columns] = up.shape();
        let (rows, shape) = rows_of(inputs[0].shape(), down.shape()[0]);
        let left = Activations::new(inputs[0].data(), rows, columns);
        let inner = swiglu_values(&product(&left, gate, None), &product(&left, up, None));
        let inner = Activations::new(&inner, rows, hidden);
        Output::new(product(&inner, down, None), &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn backward(&self, _grad: &Host, _saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        unreachable!("inputs on the gradient graph take the linear layers one by one: {needs:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{BlockFormat, Mode, swiglu, with_mode};

    /// A matrix of Q8_0 whose scales are 1/64.
    fn matrix([rows, columns]: [usize; 2], seed: usize) -> PackedMatrix {
        let blocks = (0..rows * columns / 32).flat_map(|block| {
            let scale = half::f16::from_f32(1.0 / 64.0).to_le_bytes();
            let code = move |i: usize| ((block * 32 + i) * 7919 + seed * 31) as u8;
            scale.into_iter().chain((0..32).map(code))
        });
        let bytes: Vec<u8> = blocks.collect();
        let size = bytes.len();
        PackedMatrix::new(BlockFormat::Q8_0, [rows, columns], Arc::new(bytes), 0..size).unwrap()
    }

    fn numbers<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
            .collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    fn close(a: &[f32], b: &[f32], bound: f32) {
        let size = b.iter().fold(0_f32, |most, x| most.max(x.abs()));
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        let worst = apart.fold(0_f32, f32::max);
        assert!(
            a.len() == b.len() && worst < bound * size,
            "{worst} of {size}"
        );
    }

    #[test]
    fn layers_are_near_those_of_unpacked_weights() {
        let device = Device::flex();
        let [gate, up] = [1, 2].map(|seed| matrix([96, 64], seed));
        let down = matrix([32, 96], 3);
        let x = numbers([2, 5, 64], &device);
        let bias = numbers([32], &device);
        let y = packed_linear(numbers([5, 96], &device), &down, Some(bias.clone()));
        let expected = reference::linear(
            numbers([5, 96], &device),
            unpacked(&down, &device, DType::F32),
            Some(bias.clone()),
        );
        close(&values(y), &values(expected.clone()), 0.02);
        // Without kernels, nothing is rounded.
        let plain = with_mode(Mode::Reference, || {
            packed_linear(numbers([5, 96], &device), &down, Some(bias))
        });
        close(&values(plain), &values(expected), 1e-6);

        let layer = |x: Tensor<3>, weight| packed_linear(x, weight, None);
        let y = packed_swiglu_mlp(x.clone(), &gate, &up, &down);
        let hidden = swiglu(layer(x.clone(), &gate), layer(x, &up));
        assert_eq!(values(y), values(layer(hidden, &down)));
    }

    #[test]
    fn gradients_are_those_of_the_unpacked_weight() {
        let device = Device::flex().autodiff();
        let (weight, bias) = (matrix([96, 64], 1), numbers([96], &device).require_grad());
        let x = numbers([3, 64], &device).require_grad();
        let factors = numbers([3, 96], &device);
        let y = packed_linear(x.clone(), &weight, Some(bias.clone()));
        let grads = (y * factors.clone()).sum().backward();
        let whole = unpacked(&weight, &device, DType::F32);
        let y = crate::linear(x.clone(), whole, Some(bias.clone()));
        let expected = (y * factors).sum().backward();
        for (found, expected) in [
            (x.grad(&grads).map(values), x.grad(&expected).map(values)),
            (
                bias.grad(&grads).map(values),
                bias.grad(&expected).map(values),
            ),
        ] {
            close(&found.unwrap(), &expected.unwrap(), 1e-6);
        }
        let mlp = packed_swiglu_mlp(x.clone(), &weight, &weight, &matrix([32, 96], 2));
        let gradient = x.grad(&mlp.sum().backward()).map(values).unwrap();
        assert!(gradient.iter().any(|g| *g != 0.0));
    }

    #[test]
    fn rows_of_a_table() {
        let table = matrix([4, 32], 5);
        let rows = packed_rows(&table, &[3, 0, 3], &Device::flex());
        let whole = table.unpack();
        let expected = [&whole[96..], &whole[..32], &whole[96..]].concat();
        assert_eq!(values(rows), expected);
    }
}

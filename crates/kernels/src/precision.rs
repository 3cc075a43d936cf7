//! Which float type is computed in.
//!
//! Activations carry the choice: an operation computes in the type of its input and brings weights to
//! it, so that whoever feeds a network decides. Weights that are trained stay in 32 bits: a cast is part
//! of the gradient graph and its gradient is in the type of what was cast.

use burn::tensor::{DType, Tensor};

/// `x` in the given type; itself if it is in it.
pub fn cast<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// `x` in the type of another tensor.
pub fn like<const D: usize, const E: usize>(x: Tensor<D>, other: &Tensor<E>) -> Tensor<D> {
    cast(x, other.dtype())
}

/// `x` in at least 32 bits: for statistics, probabilities, coordinates and losses.
pub fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = at_least_32(x.dtype());
    cast(x, dtype)
}

/// The type itself, or 32 bits instead of 16.
pub fn at_least_32(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// A weight in 32 bits under activations in 16: the result in 16, the gradient in 32.
    #[test]
    fn trained_weights_get_gradients_in_their_own_type() {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::from_floats([[1.0, 2.0]], &device).require_grad();
        let x = Tensor::<2>::from_floats([[3.0, 5.0]], &device).cast(DType::BF16);
        let y = crate::linear(x, weight.clone(), None);
        assert_eq!(y.dtype(), DType::BF16);
        let y = wide(y);
        assert_eq!(y.clone().into_scalar::<f32>(), 13.0);
        let gradient = weight.grad(&y.sum().backward()).expect("trained");
        assert_eq!(gradient.dtype(), DType::F32);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [3.0, 5.0]);
    }

    #[test]
    fn nothing_is_narrowed_for_statistics() {
        assert_eq!(at_least_32(DType::F16), DType::F32);
        assert_eq!(at_least_32(DType::BF16), DType::F32);
        assert_eq!(at_least_32(DType::F32), DType::F32);
        assert_eq!(at_least_32(DType::F64), DType::F64);
    }
}

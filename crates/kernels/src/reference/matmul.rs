use burn::tensor::Tensor;

/// Matrix product over the last two axes; see [`crate::matmul`].
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    a.matmul(b)
}

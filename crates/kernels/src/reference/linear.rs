use burn::tensor::Tensor;

use crate::precision::like;

/// Affine map of the last axis; see [`crate::linear`].
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    let weight = like(weight, &x).transpose();
    let bias = bias.map(|bias| like(bias, &x));
    let mut y = x.reshape([rows, inputs]).matmul(weight);
    if let Some(bias) = bias {
        y = y + bias.unsqueeze::<2>();
    }
    dims[D - 1] = outputs;
    y.reshape(dims)
}

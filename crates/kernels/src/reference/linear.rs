use burn::tensor::Tensor;

/// Affine map of the last axis; see [`crate::linear`].
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    let weight = weight.cast(x.dtype()).transpose();
    let mut y = x.reshape([rows, inputs]).matmul(weight);
    if let Some(bias) = bias {
        y = y + bias.unsqueeze::<2>();
    }
    dims[D - 1] = outputs;
    y.reshape(dims)
}

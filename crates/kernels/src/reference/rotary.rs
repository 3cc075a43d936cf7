use burn::tensor::Tensor;

use crate::precision::like;

/// Rotary position encoding, half-split; see [`crate::rotary`].
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let first = x.clone().narrow(3, 0, half);
    let second = x.clone().narrow(3, half, half);
    let rotated = Tensor::cat(vec![-second, first], 3);
    let (cos, sin) = (like(cos, &x), like(sin, &x));
    // [batch or 1, 1, seq, dim]
    x * cos.unsqueeze_dim(1) + rotated * sin.unsqueeze_dim(1)
}

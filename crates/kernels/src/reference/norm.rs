use burn::tensor::Tensor;

use crate::precision::{cast, like, wide};

/// Layer normalisation over the last axis; see [`crate::layer_norm`].
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Option<Tensor<1>>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    let weight = weight.map(|weight| like(weight, &x));
    let bias = bias.map(|bias| like(bias, &x));
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    let mut y = centred / (variance + eps).sqrt();
    if let Some(weight) = weight {
        y = y * weight.unsqueeze();
    }
    if let Some(bias) = bias {
        y = y + bias.unsqueeze();
    }
    cast(y, dtype)
}

/// Root-mean-square normalisation over the last axis; see [`crate::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    let weight = like(weight, &x);
    let mean_square = x.clone().square().mean_dim(D - 1);
    cast(x / (mean_square + eps).sqrt() * weight.unsqueeze(), dtype)
}

/// Group normalisation of a channels-last map; see [`crate::group_norm`].
pub fn group_norm(
    x: Tensor<4>,
    groups: usize,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    silu: bool,
) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let dtype = x.dtype();
    // [batch, positions, groups, channels per group]
    let x = wide(x).reshape([batch, height * width, groups, channels / groups]);
    let (weight, bias) = (like(weight, &x), like(bias, &x));
    let centred = x.clone() - x.mean_dim(1).mean_dim(3);
    let variance = centred.clone().square().mean_dim(1).mean_dim(3);
    let y = centred / (variance + eps).sqrt();
    let y = y.reshape([batch, height, width, channels]);
    let y = y * weight.unsqueeze() + bias.unsqueeze();
    cast(if silu { super::silu(y) } else { y }, dtype)
}

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;

use crate::Conv2dOptions;
use crate::precision::like;

/// Convolution of a channels-last map; see [`crate::conv2d`].
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Tensor<4> {
    let [top, bottom, left, right] = options.padding;
    let settings = ConvOptions {
        stride: options.stride,
        padding: [(top, bottom), (left, right)],
        dilation: [1, 1],
        groups: options.groups,
    };
    let weight = like(weight, &x);
    let bias = bias.map(|bias| like(bias, &x));
    let x = x.permute([0, 3, 1, 2]); // [batch, channels, height, width]
    module::conv2d(x, weight, bias, settings).permute([0, 2, 3, 1])
}

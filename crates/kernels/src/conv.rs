//! Two-dimensional convolution of channels-last maps.

mod dense;
mod dense_gradient;
mod depthwise;
mod geometry;
mod padded;
mod unfold;
mod weights;

use burn::tensor::Tensor;

use crate::host::custom::{apply, fused};
use crate::reference;
use dense::Dense;
use depthwise::Depthwise;

/// Geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Vertical and horizontal stride, at least 1.
    pub stride: [usize; 2],
    /// Zeros added at the top, bottom, left and right.
    pub padding: [usize; 4],
    /// Channel groups; equal to the channels for a depthwise convolution.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [0; 4],
            groups: 1,
        }
    }
}

impl Conv2dOptions {
    /// Height and width of the output for an input and kernel of the given height and width.
    pub fn output_size(&self, input: [usize; 2], kernel: [usize; 2]) -> [usize; 2] {
        let [top, bottom, left, right] = self.padding;
        let size = |input: usize, padding: usize, kernel: usize, stride: usize| {
            (input + padding)
                .checked_sub(kernel)
                .map_or(0, |rest| rest / stride + 1)
        };
        [
            size(input[0], top + bottom, kernel[0], self.stride[0]),
            size(input[1], left + right, kernel[1], self.stride[1]),
        ]
    }
}

/// Cross-correlation of a channels-last map with a kernel in PyTorch's layout.
///
/// Fused for one group, and for depthwise kernels of stride 1.
///
/// # Shapes
/// - `x`: `[batch, height, width, in]`
/// - `weight`: `[out, in / groups, kernel_height, kernel_width]`
/// - `bias`: `[out]`
/// - returns `[batch, out_height, out_width, out]`
///
/// # Panics
/// If the channels of `x`, `weight` and `bias` do not fit.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
) -> Tensor<4> {
    let [batch, height, width, inputs] = x.dims();
    let [outputs, per_group, kernel_height, kernel_width] = weight.dims();
    assert_eq!(
        inputs,
        per_group * options.groups,
        "conv2d: channels of input and weight"
    );
    if let Some(bias) = &bias {
        assert_eq!(
            bias.dims(),
            [outputs],
            "conv2d: bias for {outputs} channels"
        );
    }
    let kernel = [kernel_height, kernel_width];
    let output = options.output_size([height, width], kernel);
    let empty = batch * output[0] * output[1] * inputs * outputs == 0;
    let depthwise = options.groups == inputs && outputs == inputs && options.stride == [1, 1];
    let dense = options.groups == 1;
    if empty || !(dense || depthwise) || !fused(&x) {
        return reference::conv2d(x, weight, bias, options);
    }
    let mut tensors = vec![x.into_dispatch(), weight.into_dispatch()];
    tensors.extend(bias.map(Tensor::into_dispatch));
    if dense {
        apply(Dense { options }, tensors)
    } else {
        apply(Depthwise { options }, tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes() {
        let options = Conv2dOptions {
            stride: [2, 2],
            padding: [0, 1, 0, 1],
            groups: 1,
        };
        assert_eq!(options.output_size([8, 7], [3, 3]), [4, 3]);
        assert_eq!(Conv2dOptions::default().output_size([2, 2], [3, 3]), [0, 0]);
    }
}

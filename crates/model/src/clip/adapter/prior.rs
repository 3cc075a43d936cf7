use burn::module::{Module, Param};
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, activation, module};
use deem_kernels as kernels;

use crate::nn::{Conv2d, Conv2dOptions, LayerNorm, param};

/// Convolutions at 1/4, 1/8, 1/16 and 1/32 of the image.
#[derive(Module, Debug)]
pub(super) struct SpatialPrior {
    stem: Vec<ConvNorm>,
    conv2: ConvNorm,
    conv3: ConvNorm,
    conv4: ConvNorm,
    fc1: Conv2d,
    fc2: Conv2d,
    fc3: Conv2d,
    fc4: Conv2d,
}

impl SpatialPrior {
    pub(super) fn new(channels: usize, width: usize, device: &Device) -> Self {
        let conv = |inputs, outputs, stride| ConvNorm::new(inputs, outputs, stride, device);
        let fc = |inputs| Conv2d::new(inputs, width, 1, Conv2dOptions::default(), device);
        Self {
            stem: vec![
                conv(3, channels, 2),
                conv(channels, channels, 1),
                conv(channels, channels, 1),
            ],
            conv2: conv(channels, 2 * channels, 2),
            conv3: conv(2 * channels, 4 * channels, 2),
            conv4: conv(4 * channels, 4 * channels, 2),
            fc1: fc(channels),
            fc2: fc(2 * channels),
            fc3: fc(4 * channels),
            fc4: fc(4 * channels),
        }
    }

    pub(super) fn forward(&self, image: Tensor<4>) -> [Tensor<4>; 4] {
        let stem = self.stem.iter().fold(image, |x, conv| conv.forward(x));
        let halve = MaxPoolOptions::new([3, 3])
            .with_stride([2, 2])
            .with_padding([1, 1]);
        let c1 = module::max_pool2d(stem.permute([0, 3, 1, 2]), halve).permute([0, 2, 3, 1]);
        let c2 = self.conv2.forward(c1.clone());
        let c3 = self.conv3.forward(c2.clone());
        let c4 = self.conv4.forward(c3.clone());
        [
            self.fc1.forward(c1),
            self.fc2.forward(c2),
            self.fc3.forward(c3),
            self.fc4.forward(c4),
        ]
    }
}

/// 3×3 convolution without bias, norm and ReLU.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: LayerNorm,
}

impl ConvNorm {
    fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [1; 4],
            groups: 1,
        };
        Self {
            conv: Conv2d::new(inputs, outputs, 3, options, device).without_bias(),
            norm: LayerNorm::new(outputs, 1e-6, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm.forward(self.conv.forward(x)))
    }
}

/// Transposed convolution with kernel and stride 2 (`torch.nn.ConvTranspose2d`).
#[derive(Module, Debug)]
pub(super) struct UpConv {
    /// `[in, out, 2, 2]`
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl UpConv {
    pub(super) fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: param([inputs, outputs, 2, 2], 0.0, device),
            bias: param([outputs], 0.0, device),
        }
    }

    /// `[batch, height, width, in]` → `[batch, 2 * height, 2 * width, out]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, _] = x.dims();
        let weight = self.weight.val();
        let [inputs, outputs, ..] = weight.dims();
        // Kernels do not overlap: a linear map to the four pixels of each cell.
        let weight = weight.permute([2, 3, 1, 0]).reshape([4 * outputs, inputs]);
        let y = kernels::linear(x, weight, Some(self.bias.val().repeat_dim(0, 4)));
        y.reshape([batch, height, width, 2, 2, outputs])
            .swap_dims(2, 3)
            .reshape([batch, 2 * height, 2 * width, outputs])
    }
}

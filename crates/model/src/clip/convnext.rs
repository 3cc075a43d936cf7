//! ConvNeXt image tower (Liu et al. 2022, "A ConvNet for the 2020s"; timm `ConvNeXt`).
//!
//! A patch stem and four stages of depthwise-convolution blocks, each stage at half the resolution
//! of the one before. Keys are timm's (`stem.0.weight`, `stages.1.blocks.0.conv_dw.weight`), which
//! are also open_clip's below `visual.trunk.`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;
use deem_kernels::precision::like;

use super::config::ConvNextConfig;
use super::encoder::Mlp;
use crate::activation::Activation;
use crate::checkpointing::checkpoint;
use crate::nn::{Conv2d, Conv2dOptions, LayerNorm, param};

/// What the tower sees, at every resolution.
#[derive(Clone, Debug)]
pub struct ConvNextOutput {
    /// Output of each stage, `[batch, height, width, channels]`, finest first.
    pub stages: [Tensor<4>; 4],
    /// `[batch, channels]`: the last stage, averaged and normalised.
    pub pooled: Tensor<2>,
}

/// The image tower, without a classifier (keys `head.fc.*` of timm have no place here).
#[derive(Module, Debug)]
pub struct ConvNext {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    head: Head,
    #[module(skip)]
    checkpoint: bool,
}

impl ConvNext {
    /// A tower of the given dimensions.
    pub fn new(config: &ConvNextConfig, device: &Device) -> Self {
        let ConvNextConfig {
            dims,
            patch_size,
            norm_eps,
            ..
        } = *config;
        let patches = Conv2dOptions {
            stride: [patch_size; 2],
            ..Conv2dOptions::default()
        };
        let stem = (
            Conv2d::new(config.in_chans, dims[0], patch_size, patches, device),
            LayerNorm::new(dims[0], norm_eps, device),
        );
        let stages = strides(patch_size).into_iter().enumerate();
        let stages = stages.map(|(index, step)| Stage::new(config, index, step, device));
        Self {
            stem,
            stages: stages.collect(),
            head: Head {
                norm: LayerNorm::new(dims[3], norm_eps, device),
            },
            checkpoint: false,
        }
    }

    /// Compute blocks again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpoint: bool) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised
    pub fn forward(&self, pixels: Tensor<4>) -> ConvNextOutput {
        let (stem, norm) = &self.stem;
        let mut x = norm.forward(stem.forward(pixels.permute([0, 2, 3, 1])));
        let mut stage = |index: usize| {
            x = self.stages[index].forward(x.clone(), self.checkpoint);
            x.clone()
        };
        let stages = [stage(0), stage(1), stage(2), stage(3)];
        let [batch, height, width, channels] = x.dims();
        let pooled = x
            .reshape([batch, height * width, channels])
            .mean_dim(1)
            .reshape([batch, channels]);
        ConvNextOutput {
            stages,
            pooled: self.head.norm.forward(pooled),
        }
    }
}

impl ConvNextConfig {
    /// How many times smaller the last stage's grid is than the image.
    pub fn reduction(&self) -> usize {
        let strides = strides(self.patch_size).map(|step| step.stride);
        self.patch_size * strides.iter().product::<usize>()
    }
}

/// Geometry of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    stride: usize,
    /// Of the down-sampling convolution, and of the blocks.
    dilation: [usize; 2],
}

/// timm halves the resolution until it is 1/32 of the image, then dilates instead.
fn strides(patch_size: usize) -> [Step; 4] {
    let (mut reduction, mut dilation) = (patch_size, 1);
    [0, 1, 2, 3].map(|index| {
        let mut stride = if reduction == 2 || index > 0 { 2 } else { 1 };
        if reduction >= 32 && stride > 1 {
            dilation *= stride;
            stride = 1;
        }
        reduction *= stride;
        let first = if dilation <= 2 { 1 } else { 2 };
        Step {
            stride,
            dilation: [first, dilation],
        }
    })
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<Block>,
    #[module(skip)]
    options: Conv2dOptions,
    #[module(skip)]
    dilation: usize,
}

impl Stage {
    fn new(config: &ConvNextConfig, index: usize, step: Step, device: &Device) -> Self {
        let Step { stride, dilation } = step;
        let inputs = config.dims[index.saturating_sub(1)];
        let outputs = config.dims[index];
        let down = stride > 1 || dilation[0] != dilation[1];
        let same = if dilation[1] > 1 { dilation[0] } else { 0 };
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [same / 2, same - same / 2, same / 2, same - same / 2],
            groups: 1,
        };
        let downsample = (down || inputs != outputs).then(|| {
            let kernel = if down { 2 } else { 1 };
            (
                LayerNorm::new(inputs, config.norm_eps, device),
                Conv2d::new(inputs, outputs, kernel, options, device),
            )
        });
        let block = || Block::new(outputs, dilation[1], config, device);
        Self {
            downsample,
            blocks: (0..config.depths[index]).map(|_| block()).collect(),
            options,
            dilation: dilation[0],
        }
    }

    fn forward(&self, mut x: Tensor<4>, recompute: bool) -> Tensor<4> {
        if let Some((norm, conv)) = &self.downsample {
            x = dilated(conv, norm.forward(x), self.options, self.dilation);
        }
        let blocks = self.blocks.iter();
        if !recompute {
            return blocks.fold(x, |x, block| block.forward(x));
        }
        let [batch, height, width, channels] = x.dims();
        let cells = [batch, height * width, channels];
        let map = [batch, height, width, channels];
        let x = blocks.fold(x.reshape(cells), |x, block| {
            checkpoint(block, [x], move |block, [x]| {
                block.forward(x.reshape(map)).reshape(cells)
            })
        });
        x.reshape(map)
    }
}

/// Depthwise convolution, norm and MLP, scaled per channel and added to the input.
#[derive(Module, Debug)]
struct Block {
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: Mlp,
    gamma: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: Conv2dOptions,
    #[module(skip)]
    dilation: usize,
}

impl Block {
    fn new(channels: usize, dilation: usize, config: &ConvNextConfig, device: &Device) -> Self {
        let options = Conv2dOptions {
            padding: [dilation * (config.kernel_size / 2); 4],
            groups: channels,
            ..Conv2dOptions::default()
        };
        Self {
            conv_dw: Conv2d::new(channels, channels, config.kernel_size, options, device),
            norm: LayerNorm::new(channels, config.norm_eps, device),
            mlp: Mlp::new(channels, 4 * channels, Activation::Gelu, device),
            gamma: config
                .ls_init_value
                .map(|value| param([channels], value as f32, device)),
            options,
            dilation,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = dilated(&self.conv_dw, x.clone(), self.options, self.dilation);
        let y = self.mlp.forward(self.norm.forward(y));
        x + match &self.gamma {
            Some(gamma) => {
                let gamma = like(gamma.val(), &y);
                y * gamma.unsqueeze()
            }
            None => y,
        }
    }
}

#[derive(Module, Debug)]
struct Head {
    norm: LayerNorm,
}

/// A convolution with dilation: the kernel is spread out with zeros. Only towers with stems of 8
/// pixels or more dilate.
fn dilated(conv: &Conv2d, x: Tensor<4>, options: Conv2dOptions, dilation: usize) -> Tensor<4> {
    if dilation == 1 {
        return conv.forward(x);
    }
    let weight = conv.weight.val();
    let [outputs, inputs, height, width] = weight.dims();
    let spread = |weight: Tensor<4>, axis: usize| {
        let mut dims = weight.dims();
        let taps = dims[axis];
        dims[axis] *= dilation;
        let zeros = Tensor::zeros_like(&weight.clone().unsqueeze_dim::<5>(axis + 1));
        let mut parts = vec![weight.unsqueeze_dim::<5>(axis + 1)];
        parts.resize(dilation, zeros);
        let end = (taps - 1) * dilation + 1;
        Tensor::cat(parts, axis + 1)
            .reshape(dims)
            .narrow(axis, 0, end)
    };
    let weight = spread(spread(weight, 2), 3);
    debug_assert_eq!(
        weight.dims(),
        [
            outputs,
            inputs,
            (height - 1) * dilation + 1,
            (width - 1) * dilation + 1
        ]
    );
    kernels::conv2d(x, weight, conv.bias.as_ref().map(Param::val), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_by_patch_size() {
        let step = |stride, first, rest| Step {
            stride,
            dilation: [first, rest],
        };
        let two = step(2, 1, 1);
        assert_eq!(strides(4), [step(1, 1, 1), two, two, two]);
        assert_eq!(strides(2), [two, two, two, two]);
        assert_eq!(strides(8), [step(1, 1, 1), two, two, step(1, 1, 2)]);
        let end = [step(1, 1, 2), step(1, 2, 4)];
        assert_eq!(strides(16), [step(1, 1, 1), two, end[0], end[1]]);
    }

    /// The trunk of the paper's encoder (spec: parameter counts).
    #[test]
    fn full_size_parameter_count() {
        let trunk = ConvNext::new(&ConvNextConfig::default(), &Device::flex());
        assert!((trunk.num_params() as f64 / 1e6 - 87.57).abs() < 0.005);
    }

    #[test]
    fn odd_images_are_cut_to_whole_patches() {
        let config = ConvNextConfig {
            depths: [1; 4],
            dims: [4, 4, 8, 8],
            ..ConvNextConfig::default()
        };
        let device = Device::flex();
        let tower = ConvNext::new(&config, &device);
        let output = tower.forward(Tensor::ones([1, 3, 67, 100], &device));
        let dims: Vec<_> = output.stages.iter().map(|stage| stage.dims()).collect();
        let expected = [[1, 16, 25, 4], [1, 8, 12, 4], [1, 4, 6, 8], [1, 2, 3, 8]];
        assert_eq!(dims, expected);
        assert_eq!(output.pooled.dims(), [1, 8]);
    }
}

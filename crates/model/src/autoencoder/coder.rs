use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_kernels::AttentionMask;

use super::AutoencoderConfig;
use crate::attention::multi_head;
use crate::nn::{Conv2d, GroupNorm, Linear};
use crate::unet::resnet::{ResnetOptions, same};
use crate::unet::{Downsample, ResnetBlock, TimeScaleShift, Upsample};

const EPS: f64 = 1e-6;

/// Pixels → moments of the latent (diffusers `Encoder`).
#[derive(Module, Debug)]
pub struct Encoder {
    /// First convolution.
    pub conv_in: Conv2d,
    /// Finest resolution first.
    pub down_blocks: Vec<EncoderBlock>,
    /// At the latent's resolution.
    pub mid_block: PixelMidBlock,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Last convolution.
    pub conv_out: Conv2d,
}

/// Latent → pixels (diffusers `Decoder`).
#[derive(Module, Debug)]
pub struct Decoder {
    /// First convolution.
    pub conv_in: Conv2d,
    /// At the latent's resolution.
    pub mid_block: PixelMidBlock,
    /// Coarsest resolution first.
    pub up_blocks: Vec<DecoderBlock>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Last convolution.
    pub conv_out: Conv2d,
}

/// Layers at one resolution of the encoder.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none at the coarsest resolution.
    pub downsamplers: Vec<Downsample>,
}

/// Layers at one resolution of the decoder.
#[derive(Module, Debug)]
pub struct DecoderBlock {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none at the finest resolution.
    pub upsamplers: Vec<Upsample>,
}

/// Residual block, attention, residual block (diffusers `UNetMidBlock2D`).
#[derive(Module, Debug)]
pub struct PixelMidBlock {
    /// Two.
    pub resnets: Vec<ResnetBlock>,
    /// One or none.
    pub attentions: Vec<PixelAttention>,
}

/// Self-attention of pixels with a single head, around a shortcut.
#[derive(Module, Debug)]
pub struct PixelAttention {
    /// Before the projections.
    pub group_norm: GroupNorm,
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// One layer; a list because of its key, `to_out.0`.
    pub to_out: Vec<Linear>,
}

fn resnet(
    config: &AutoencoderConfig,
    inputs: usize,
    outputs: usize,
    device: &Device,
) -> ResnetBlock {
    let options = ResnetOptions {
        groups: config.norm_num_groups,
        eps: EPS,
        act: config.act_fn,
        time_dim: None,
        time_scale_shift: TimeScaleShift::Default,
        output_scale: 1.0,
    };
    ResnetBlock::new(inputs, outputs, &options, device)
}

impl Encoder {
    pub(super) fn new(config: &AutoencoderConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let moments = 2 * config.latent_channels;
        let block = |index: usize| {
            let outputs = channels[index];
            let layer = |layer| {
                let inputs = match layer {
                    0 => channels[index.saturating_sub(1)],
                    _ => outputs,
                };
                resnet(config, inputs, outputs, device)
            };
            let down = || Downsample::new(outputs, 0, device);
            EncoderBlock {
                resnets: (0..config.layers_per_block).map(layer).collect(),
                downsamplers: (index + 1 != channels.len())
                    .then(down)
                    .into_iter()
                    .collect(),
            }
        };
        Self {
            conv_in: Conv2d::new(config.in_channels, first, 3, same(3), device),
            down_blocks: (0..channels.len()).map(block).collect(),
            mid_block: PixelMidBlock::new(config, last, device),
            conv_norm_out: GroupNorm::new(config.norm_num_groups, last, EPS, device),
            conv_out: Conv2d::new(last, moments, 3, same(3), device),
        }
    }

    /// # Shapes
    /// - `pixels`: `[batch, height, width, in_channels]`
    /// - returns `[batch, height / f, width / f, 2 · latent_channels]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let mut hidden = self.conv_in.forward(pixels);
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                hidden = resnet.forward(hidden, None);
            }
            for down in &block.downsamplers {
                hidden = down.forward(hidden);
            }
        }
        let hidden = self.mid_block.forward(hidden);
        self.conv_out
            .forward(self.conv_norm_out.forward_silu(hidden))
    }
}

impl Decoder {
    pub(super) fn new(config: &AutoencoderConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let block = |index: usize| {
            let outputs = channels[index];
            let before = channels[(index + 1).min(last)];
            let layer = |layer| {
                let inputs = if layer == 0 { before } else { outputs };
                resnet(config, inputs, outputs, device)
            };
            let up = || Upsample::new(outputs, device);
            DecoderBlock {
                resnets: (0..=config.layers_per_block).map(layer).collect(),
                upsamplers: (index != 0).then(up).into_iter().collect(),
            }
        };
        Self {
            conv_in: Conv2d::new(config.latent_channels, channels[last], 3, same(3), device),
            mid_block: PixelMidBlock::new(config, channels[last], device),
            up_blocks: (0..=last).rev().map(block).collect(),
            conv_norm_out: GroupNorm::new(config.norm_num_groups, channels[0], EPS, device),
            conv_out: Conv2d::new(channels[0], config.out_channels, 3, same(3), device),
        }
    }

    /// # Shapes
    /// - `latents`: `[batch, height, width, latent_channels]`
    /// - returns `[batch, height · f, width · f, out_channels]`
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let mut hidden = self.mid_block.forward(self.conv_in.forward(latents));
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                hidden = resnet.forward(hidden, None);
            }
            for up in &block.upsamplers {
                hidden = up.forward(hidden, None);
            }
        }
        self.conv_out
            .forward(self.conv_norm_out.forward_silu(hidden))
    }
}

impl PixelMidBlock {
    fn new(config: &AutoencoderConfig, channels: usize, device: &Device) -> Self {
        let attention = || PixelAttention::new(config.norm_num_groups, channels, device);
        Self {
            resnets: (0..2)
                .map(|_| resnet(config, channels, channels, device))
                .collect(),
            attentions: config
                .mid_block_add_attention
                .then(attention)
                .into_iter()
                .collect(),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, None);
            if let Some(attention) = self.attentions.get(layer) {
                x = attention.forward(x);
            }
        }
        x
    }
}

impl PixelAttention {
    fn new(groups: usize, channels: usize, device: &Device) -> Self {
        let linear = || Linear::new(channels, channels, true, device);
        Self {
            group_norm: GroupNorm::new(groups, channels, EPS, device),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: vec![linear()],
        }
    }

    /// # Shapes
    /// `x`: `[batch, height, width, channels]`, returned in the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let [batch, height, width, channels] = shape;
        let pixels = self
            .group_norm
            .forward(x.clone())
            .reshape([batch, height * width, channels]);
        let query = self.to_q.forward(pixels.clone());
        let key = self.to_k.forward(pixels.clone());
        let value = self.to_v.forward(pixels);
        let mixed = multi_head(query, key, value, 1, AttentionMask::default());
        x + self.to_out[0].forward(mixed).reshape(shape)
    }
}

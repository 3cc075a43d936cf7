use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::config::{DownBlockType, MidBlockType, UNetConfig, UpBlockType};
use super::resnet::{Downsample, ResnetBlock, ResnetOptions, Upsample};
use super::transformer::{Transformer2d, TransformerOptions};
use crate::checkpointing;

/// What every block hears besides its input.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// `[batch, time_dim]`, after the activation.
    pub time: Tensor<2>,
    /// `[batch, tokens, cross_dim]`
    pub condition: Tensor<3>,
    /// Compute layers again in the backward pass.
    pub checkpoint: bool,
}

/// Layers at one resolution on the way down, then a strided convolution.
#[derive(Module, Debug)]
pub struct DownBlock {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// A transformer after each of them, or none at all.
    pub attentions: Vec<Transformer2d>,
    /// One, or none at the coarsest resolution.
    pub downsamplers: Vec<Downsample>,
}

/// Layers at the coarsest resolution.
#[derive(Module, Debug)]
pub struct MidBlock {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// A transformer between two of them, or none at all.
    pub attentions: Vec<Transformer2d>,
}

/// Layers at one resolution on the way up, each joined by a skip connection, then an enlargement.
#[derive(Module, Debug)]
pub struct UpBlock {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// A transformer after each of them, or none at all.
    pub attentions: Vec<Transformer2d>,
    /// One, or none at the finest resolution.
    pub upsamplers: Vec<Upsample>,
}

fn resnet_options(config: &UNetConfig, output_scale: f64) -> ResnetOptions {
    ResnetOptions {
        groups: config.norm_num_groups.unwrap_or(1),
        eps: config.norm_eps,
        act: config.act_fn,
        time_dim: Some(config.time_dim()),
        time_scale_shift: config.resnet_time_scale_shift,
        output_scale,
    }
}

/// Transformers of a block (counted on the way down), without their number of layers.
fn transformer_options(config: &UNetConfig, block: usize) -> TransformerOptions {
    TransformerOptions {
        channels: config.block_out_channels[block],
        heads: *config.attention_head_dim.at(block),
        cross_dim: *config.cross_attention_dim.at(block),
        layers: 1,
        groups: config.norm_num_groups.unwrap_or(1),
        linear_projection: config.use_linear_projection,
        only_cross: *config.only_cross_attention.at(block),
    }
}

impl DownBlock {
    pub(super) fn new(config: &UNetConfig, block: usize, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let outputs = channels[block];
        let layers = *config.layers_per_block.at(block);
        let resnets = (0..layers).map(|layer| {
            let inputs = match layer {
                0 => channels[block.saturating_sub(1)],
                _ => outputs,
            };
            ResnetBlock::new(inputs, outputs, &resnet_options(config, 1.0), device)
        });
        let cross = config.down_block_types[block] == DownBlockType::CrossAttnDownBlock2D;
        let depths = config.transformer_layers_per_block.at(block);
        let attentions = (0..if cross { layers } else { 0 }).map(|layer| {
            let options = TransformerOptions {
                layers: *depths.at(layer),
                ..transformer_options(config, block)
            };
            Transformer2d::new(&options, device)
        });
        let last = block + 1 == channels.len();
        let down = || Downsample::new(outputs, config.downsample_padding, device);
        Self {
            resnets: resnets.collect(),
            attentions: attentions.collect(),
            downsamplers: (!last).then(down).into_iter().collect(),
        }
    }

    /// Appends every map it makes to `skips`.
    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        context: &Context,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = run_layer(resnet, self.attentions.get(layer), x, context);
            skips.push(x.clone());
        }
        for down in &self.downsamplers {
            x = down.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

impl MidBlock {
    pub(super) fn new(config: &UNetConfig, kind: MidBlockType, device: &Device) -> Self {
        let block = config.block_out_channels.len() - 1;
        let channels = config.block_out_channels[block];
        let cross = kind == MidBlockType::UNetMidBlock2DCrossAttn;
        let options = resnet_options(config, config.mid_block_scale_factor);
        let resnet = |_| ResnetBlock::new(channels, channels, &options, device);
        let attention = || {
            let options = TransformerOptions {
                layers: *config.transformer_layers_per_block.at(block).at(0),
                only_cross: false,
                ..transformer_options(config, block)
            };
            Transformer2d::new(&options, device)
        };
        Self {
            resnets: (0..if cross { 2 } else { 1 }).map(resnet).collect(),
            attentions: cross.then(attention).into_iter().collect(),
        }
    }

    pub(super) fn forward(&self, mut x: Tensor<4>, context: &Context) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = run_layer(resnet, self.attentions.get(layer), x, context);
        }
        x
    }
}

impl UpBlock {
    /// - `step`: counted on the way up
    pub(super) fn new(config: &UNetConfig, step: usize, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let block = last - step;
        let outputs = channels[block];
        let before = channels[(block + 1).min(last)]; // of the block below
        let finer = channels[block.saturating_sub(1)]; // of the last skip connection
        let layers = config.layers_per_block.at(block) + 1;
        let resnets = (0..layers).map(|layer| {
            let inputs = if layer == 0 { before } else { outputs };
            let skip = if layer + 1 == layers { finer } else { outputs };
            let options = resnet_options(config, 1.0);
            ResnetBlock::new(inputs + skip, outputs, &options, device)
        });
        let cross = config.up_block_types[step] == UpBlockType::CrossAttnUpBlock2D;
        let depths = match &config.reverse_transformer_layers_per_block {
            Some(reversed) => reversed.at(step),
            None => config.transformer_layers_per_block.at(block),
        };
        let attentions = (0..if cross { layers } else { 0 }).map(|layer| {
            let options = TransformerOptions {
                layers: *depths.at(layer),
                ..transformer_options(config, block)
            };
            Transformer2d::new(&options, device)
        });
        let up = || Upsample::new(outputs, device);
        Self {
            resnets: resnets.collect(),
            attentions: attentions.collect(),
            upsamplers: (block != 0).then(up).into_iter().collect(),
        }
    }

    /// Takes its skip connections from the end of `skips`, and enlarges to the size of the next.
    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        context: &Context,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("one skip connection per layer");
            let joined = Tensor::cat(vec![x, skip], 3);
            x = run_layer(resnet, self.attentions.get(layer), joined, context);
        }
        for up in &self.upsamplers {
            let size = skips.last().map(|skip| {
                let [_, height, width, _] = skip.dims();
                [height, width]
            });
            x = up.forward(x, size);
        }
        x
    }
}

/// A residual block and the transformer after it.
fn run_layer(
    resnet: &ResnetBlock,
    attention: Option<&Transformer2d>,
    x: Tensor<4>,
    context: &Context,
) -> Tensor<4> {
    let Context {
        time,
        condition,
        checkpoint,
    } = context.clone();
    if !checkpoint {
        let x = resnet.forward(x, Some(time));
        return match attention {
            Some(attention) => attention.forward(x, condition),
            None => x,
        };
    }
    let [batch, height, width, channels] = x.dims();
    let outputs = resnet.conv2.weight.lazy_shape()[0];
    let inputs = [
        x.reshape([batch, height * width, channels]),
        time.unsqueeze_dim(1),
        condition,
    ];
    let layer = (resnet.clone(), attention.cloned());
    checkpointing::checkpoint(&layer, inputs, move |layer, [x, time, condition]| {
        let (resnet, attention) = layer;
        let x = x.reshape([batch, height, width, channels]);
        let x = resnet.forward(x, Some(time.squeeze_dim(1)));
        let x = match attention {
            Some(attention) => attention.forward(x, condition),
            None => x,
        };
        x.reshape([batch, height * width, outputs])
    })
    .reshape([batch, height, width, outputs])
}

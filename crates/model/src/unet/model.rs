use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Activation;
use super::blocks::{Context, DownBlock, MidBlock, UpBlock};
use super::config::UNetConfig;
use super::resnet::same;
use super::synchronizer::UnetImages;
use super::time::{TimestepEmbedding, encode_timesteps};
use crate::nn::{Conv2d, GroupNorm, Linear};

/// The denoiser (diffusers `UNet2DConditionModel`).
#[derive(Module, Debug)]
pub struct UNet {
    /// First convolution.
    pub conv_in: Conv2d,
    /// MLP on the encoded timestep.
    pub time_embedding: TimestepEmbedding,
    /// Projection of the condition, in the few models that have one.
    pub encoder_hid_proj: Option<Linear>,
    /// Finest resolution first.
    pub down_blocks: Vec<DownBlock>,
    /// At the coarsest resolution.
    pub mid_block: Option<MidBlock>,
    /// Coarsest resolution first.
    pub up_blocks: Vec<UpBlock>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Last convolution.
    pub conv_out: Conv2d,
    #[module(skip)]
    flip_sin_to_cos: bool,
    #[module(skip)]
    freq_shift: f64,
    #[module(skip)]
    center_input: bool,
    #[module(skip)]
    act: Activation,
    #[module(skip)]
    time_act: Option<Activation>,
    #[module(skip)]
    checkpoint: bool,
}

impl UNet {
    /// A network for a configuration that passes [`UNetConfig::validate`]; allocates nothing.
    pub fn new(config: &UNetConfig, device: &Device) -> Self {
        let (blocks, first) = (
            config.block_out_channels.len(),
            config.block_out_channels[0],
        );
        let groups = config.norm_num_groups.unwrap_or(1);
        let conv =
            |inputs, outputs, kernel| Conv2d::new(inputs, outputs, kernel, same(kernel), device);
        let cross_dim = *config.cross_attention_dim.at(0);
        let projection = |dim| Linear::new(dim, cross_dim, true, device);
        Self {
            conv_in: conv(config.in_channels, first, config.conv_in_kernel),
            time_embedding: TimestepEmbedding::new(config, device),
            encoder_hid_proj: config.encoder_hid_dim.map(projection),
            down_blocks: (0..blocks)
                .map(|block| DownBlock::new(config, block, device))
                .collect(),
            mid_block: config
                .mid_block_type
                .map(|kind| MidBlock::new(config, kind, device)),
            up_blocks: (0..blocks)
                .map(|step| UpBlock::new(config, step, device))
                .collect(),
            conv_norm_out: GroupNorm::new(groups, first, config.norm_eps, device),
            conv_out: conv(first, config.out_channels, config.conv_out_kernel),
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
            center_input: config.center_input_sample,
            act: config.act_fn,
            time_act: config.time_embedding_act_fn,
            checkpoint: false,
        }
    }

    /// Compute layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpoint: bool) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// What the network predicts (noise or velocity) for noisy samples.
    ///
    /// # Shapes
    /// - `sample`: `[batch, height, width, in_channels]`
    /// - `timesteps`: one training timestep for each row of the batch, or one for all
    /// - `condition`: `[conditions, tokens, condition_dim]`, of which row `i` of the batch hears `i % conditions`
    /// - `images`: what MMFS may look at, prepared by [`super::UnetSynchronizer::prepare`]
    /// - returns `[batch, height, width, out_channels]`
    ///
    /// # Panics
    /// If shapes do not fit together.
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timesteps: &[usize],
        condition: Tensor<3>,
        images: Option<&UnetImages>,
    ) -> Tensor<4> {
        let context = Context {
            time: self.embed_time(timesteps, &sample),
            condition: match &self.encoder_hid_proj {
                Some(proj) => proj.forward(condition),
                None => condition,
            },
            checkpoint: self.checkpoint,
        };
        let sample = if self.center_input {
            sample * 2.0 - 1.0
        } else {
            sample
        };
        let mut hidden = self.conv_in.forward(sample);
        let mut skips = vec![hidden.clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, &context, &mut skips);
        }
        if let Some(block) = &self.mid_block {
            hidden = block.forward(hidden, &context);
        }
        if let Some(images) = images {
            (skips, hidden) = images.add(skips, hidden);
        }
        for block in &self.up_blocks {
            hidden = block.forward(hidden, &context, &mut skips);
        }
        let hidden = self.act.after_norm(&self.conv_norm_out, hidden);
        self.conv_out.forward(hidden)
    }

    /// The timestep embedding, after the activation that all residual blocks apply to it:
    /// `[batch, time_dim]`.
    fn embed_time(&self, timesteps: &[usize], sample: &Tensor<4>) -> Tensor<2> {
        let batch = sample.dims()[0];
        let [_, dim] = self.time_embedding.linear_1.weight.lazy_shape().dims();
        let (device, dtype) = (sample.device(), sample.dtype());
        let (flip, shift) = (self.flip_sin_to_cos, self.freq_shift);
        let encoding = encode_timesteps(timesteps, dim, flip, shift, &device, dtype);
        let embedding = self.time_embedding.forward(encoding);
        let embedding = match self.time_act {
            Some(act) => act.forward(embedding),
            None => embedding,
        };
        let embedding = self.act.forward(embedding);
        if timesteps.len() == 1 {
            embedding.repeat_dim(0, batch)
        } else {
            embedding
        }
    }
}

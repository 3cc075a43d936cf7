//! The transformer inside UNet layers (diffusers `Transformer2DModel`): pixels attend to each
//! other, then to the condition.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;
use deem_kernels::{AttentionMask, MlpActivation};

use super::projection::PixelProjection;
use crate::attention::multi_head;
use crate::nn::{GroupNorm, LayerNorm, Linear, adapted};

/// Width and kind of the transformers of one UNet block.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerOptions {
    pub channels: usize,
    pub heads: usize,
    pub cross_dim: usize,
    pub layers: usize,
    pub groups: usize,
    pub linear_projection: bool,
    /// The first attention looks at the condition, too.
    pub only_cross: bool,
}

/// Norm, projection, transformer blocks, projection, around a shortcut.
#[derive(Module, Debug)]
pub struct Transformer2d {
    /// Before the first projection.
    pub norm: GroupNorm,
    /// Channels → inner width.
    pub proj_in: PixelProjection,
    /// The blocks.
    pub transformer_blocks: Vec<TransformerBlock>,
    /// Inner width → channels.
    pub proj_out: PixelProjection,
}

impl Transformer2d {
    pub(super) fn new(options: &TransformerOptions, device: &Device) -> Self {
        let TransformerOptions {
            channels,
            heads,
            layers,
            groups,
            linear_projection,
            ..
        } = *options;
        let inner = heads * (channels / heads);
        let block = |_| TransformerBlock::new(inner, options, device);
        Self {
            norm: GroupNorm::new(groups, channels, 1e-6, device),
            proj_in: PixelProjection::new(channels, inner, linear_projection, device),
            transformer_blocks: (0..layers).map(block).collect(),
            proj_out: PixelProjection::new(inner, channels, linear_projection, device),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`, returned in the same shape
    /// - `condition`: `[conditions, tokens, cross_dim]`, of which row `i` of the batch hears `i % conditions`
    pub fn forward(&self, x: Tensor<4>, condition: Tensor<3>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let normed = self.norm.forward(x.clone());
        let pixels = normed.reshape([batch, height * width, channels]);
        let mut hidden = self.proj_in.forward(pixels);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, condition.clone());
        }
        let update = self.proj_out.forward(hidden);
        x + update.reshape([batch, height, width, channels])
    }
}

/// Self-attention, cross-attention, feed-forward (diffusers `BasicTransformerBlock`).
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Before self-attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn1: CrossAttention,
    /// Before cross-attention.
    pub norm2: LayerNorm,
    /// Cross-attention to the condition.
    pub attn2: CrossAttention,
    /// Before the feed-forward layers.
    pub norm3: LayerNorm,
    /// Feed-forward layers.
    pub ff: FeedForward,
    #[module(skip)]
    only_cross: bool,
}

impl TransformerBlock {
    fn new(width: usize, options: &TransformerOptions, device: &Device) -> Self {
        let TransformerOptions {
            heads,
            cross_dim,
            only_cross,
            ..
        } = *options;
        let norm = || LayerNorm::new(width, 1e-5, device);
        let first_dim = if only_cross { cross_dim } else { width };
        Self {
            norm1: norm(),
            attn1: CrossAttention::new(width, first_dim, heads, device),
            norm2: norm(),
            attn2: CrossAttention::new(width, cross_dim, heads, device),
            norm3: norm(),
            ff: FeedForward::new(width, device),
            only_cross,
        }
    }

    fn forward(&self, x: Tensor<3>, condition: Tensor<3>) -> Tensor<3> {
        let query = self.norm1.forward(x.clone());
        let source = if self.only_cross {
            condition.clone()
        } else {
            query.clone()
        };
        let x = x + self.attn1.forward(query, source);
        let query = self.norm2.forward(x.clone());
        let x = x + self.attn2.forward(query, condition);
        let normed = self.norm3.forward(x.clone());
        x + self.ff.forward(normed)
    }
}

/// Multi-head attention (diffusers `Attention`).
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// No bias.
    pub to_q: Linear,
    /// No bias.
    pub to_k: Linear,
    /// No bias.
    pub to_v: Linear,
    /// One layer, with a bias; a list because of its key, `to_out.0`.
    pub to_out: Vec<Linear>,
    #[module(skip)]
    heads: usize,
}

impl CrossAttention {
    fn new(width: usize, source: usize, heads: usize, device: &Device) -> Self {
        let linear = |inputs, bias| Linear::new(inputs, width, bias, device);
        Self {
            to_q: linear(width, false),
            to_k: linear(source, false),
            to_v: linear(source, false),
            to_out: vec![linear(width, true)],
            heads,
        }
    }

    /// # Shapes
    /// - `query`: `[batch, queries, width]`, returned in the same shape
    /// - `source`: `[sources, keys, source_width]`, of which row `i` of the batch looks at `i % sources`
    ///
    /// # Panics
    /// If the batch is no multiple of the sources.
    pub fn forward(&self, query: Tensor<3>, source: Tensor<3>) -> Tensor<3> {
        let ([batch, queries, width], [sources, _, _]) = (query.dims(), source.dims());
        assert!(
            batch.is_multiple_of(sources),
            "{batch} rows look at {sources} sources"
        );
        let query = self.to_q.forward(query);
        let key = self.to_k.forward(source.clone());
        let value = self.to_v.forward(source);
        let mask = AttentionMask::default();
        let mix = |query| multi_head(query, key, value, self.heads, mask);
        let mixed = if batch == sources {
            mix(query)
        } else {
            // Rows that look at the same side by side, as queries of one.
            let rows = batch / sources;
            let query = query
                .reshape([rows, sources, queries, width])
                .swap_dims(0, 1)
                .reshape([sources, rows * queries, width]);
            mix(query)
                .reshape([sources, rows, queries, width])
                .swap_dims(0, 1)
                .reshape([batch, queries, width])
        };
        self.to_out[0].forward(mixed)
    }
}

/// GEGLU and a linear layer (diffusers `FeedForward`): keys `net.0.proj` and `net.2`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Gated input layer, dropout (nothing when frozen), output layer.
    pub net: (Geglu, NoDropout, Linear),
}

/// The gated input layer.
#[derive(Module, Debug)]
pub struct Geglu {
    /// Width → twice the inner width.
    pub proj: Linear,
}

/// Holds the place of a dropout layer in a list.
#[derive(Module, Debug)]
pub struct NoDropout {}

impl FeedForward {
    fn new(width: usize, device: &Device) -> Self {
        let inner = 4 * width;
        let proj = Linear::new(width, 2 * inner, true, device);
        let output = Linear::new(inner, width, true, device);
        Self {
            net: (Geglu { proj }, NoDropout {}, output),
        }
    }

    /// # Shapes
    /// `x`: `[.., width]`, returned in the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (geglu, _, output) = &self.net;
        if adapted([&geglu.proj, output]) {
            return output.forward(kernels::geglu(geglu.proj.forward(x)));
        }
        let (up, down) = (geglu.proj.affine(), output.affine());
        kernels::mlp(x, up, MlpActivation::Geglu, down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::init::initialize;

    #[test]
    fn rows_share_what_they_look_at() {
        let device = Device::flex();
        let attention = initialize(CrossAttention::new(8, 6, 2, &device), 1, &[]);
        let ramp = |shape: [usize; 3]| {
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count)
                .map(|i| (i * i % 23) as f32 / 9.0 - 1.0)
                .collect();
            Tensor::<1>::from_floats(&values[..], &device).reshape(shape)
        };
        let (query, source) = (ramp([6, 5, 8]), ramp([3, 4, 6]));
        let shared = attention.forward(query.clone(), source.clone());
        let repeated = attention.forward(query, source.repeat_dim(0, 2));
        assert_eq!(shared.into_data(), repeated.into_data());
    }
}

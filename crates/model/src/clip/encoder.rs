//! The pre-norm transformer that both CLIP towers share (transformers `CLIPEncoder`).

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_kernels::AttentionMask;

use crate::activation::{Activation, mlp};
use crate::attention::multi_head;
use crate::checkpointing::checkpoint;
use crate::nn::{LayerNorm, Linear};

/// Dimensions of an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncoderDims {
    pub width: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub activation: Activation,
    pub eps: f64,
}

/// A stack of transformer layers.
#[derive(Module, Debug)]
pub struct Encoder {
    /// From the input upwards.
    pub layers: Vec<EncoderLayer>,
    /// Compute layers again in the backward pass.
    #[module(skip)]
    pub(super) checkpoint: bool,
}

impl Encoder {
    pub(crate) fn new(dims: EncoderDims, device: &Device) -> Self {
        let layers = (0..dims.layers).map(|_| EncoderLayer::new(dims, device));
        Self {
            layers: layers.collect(),
            checkpoint: false,
        }
    }

    /// Runs some of the layers.
    pub(super) fn run(&self, x: Tensor<3>, range: Range<usize>, mask: &AttentionMask) -> Tensor<3> {
        self.layers[range].iter().fold(x, |x, layer| {
            let mask = mask.clone();
            if self.checkpoint {
                checkpoint(layer, [x], move |layer, [x]| layer.forward(x, mask.clone()))
            } else {
                layer.forward(x, mask)
            }
        })
    }
}

/// Self-attention and MLP, each behind a norm and added to its input.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    self_attn: Attention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

impl EncoderLayer {
    fn new(dims: EncoderDims, device: &Device) -> Self {
        let EncoderDims { width, eps, .. } = dims;
        Self {
            self_attn: Attention::new(width, dims.heads, device),
            layer_norm1: LayerNorm::new(width, eps, device),
            mlp: Mlp::new(width, dims.intermediate, dims.activation, device),
            layer_norm2: LayerNorm::new(width, eps, device),
        }
    }

    /// # Shapes
    /// `x`: `[batch, seq, width]`, returned in the same shape.
    pub fn forward(&self, x: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        let normed = self.layer_norm1.forward(x.clone());
        let attended = self.self_attn.forward(normed.clone(), normed, mask);
        let x = x + attended;
        let hidden = self.mlp.forward(self.layer_norm2.forward(x.clone()));
        x + hidden
    }
}

/// Attention with projections of its own.
#[derive(Module, Debug)]
pub(super) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    pub(super) fn new(width: usize, heads: usize, device: &Device) -> Self {
        let linear = || Linear::new(width, width, true, device);
        Self {
            q_proj: linear(),
            k_proj: linear(),
            v_proj: linear(),
            out_proj: linear(),
            heads,
        }
    }

    /// # Shapes
    /// - `asking`: `[batch, queries, width]`, returned in the same shape
    /// - `asked`: `[batch, keys, width]`
    pub(super) fn forward(
        &self,
        asking: Tensor<3>,
        asked: Tensor<3>,
        mask: AttentionMask,
    ) -> Tensor<3> {
        let query = self.q_proj.forward(asking);
        let key = self.k_proj.forward(asked.clone());
        let value = self.v_proj.forward(asked);
        let mixed = multi_head(query, key, value, self.heads, mask);
        self.out_proj.forward(mixed)
    }
}

/// Two linear maps with a non-linearity between them.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub fc1: Linear,
    pub fc2: Linear,
    #[module(skip)]
    pub activation: Activation,
}

impl Mlp {
    /// Widths `inputs` → `hidden` → `inputs`.
    pub fn new(inputs: usize, hidden: usize, activation: Activation, device: &Device) -> Self {
        Self {
            fc1: Linear::new(inputs, hidden, true, device),
            fc2: Linear::new(hidden, inputs, true, device),
            activation,
        }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        mlp(x, &self.fc1, self.activation, &self.fc2)
    }
}

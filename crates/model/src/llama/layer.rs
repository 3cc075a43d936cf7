use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use deem_kernels as kernels;
use deem_kernels::precision::like;

use super::attention::{AttentionContext, LlamaAttention, Past};
use super::{LlamaConfig, LlamaMmfsConfig};
use crate::activation::Activation;
use crate::checkpointing::checkpoint;
use crate::mmfs::{GatedMmfs, MmfsValues};
use crate::nn::{Form, Linear, RmsNorm, adapted};

/// Gated MLP.
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// `hidden_size` → `intermediate_size`
    pub gate_proj: Linear,
    /// `hidden_size` → `intermediate_size`
    pub up_proj: Linear,
    /// `intermediate_size` → `hidden_size`
    pub down_proj: Linear,
    #[module(skip)]
    act: Activation,
}

impl LlamaMlp {
    fn new(config: &LlamaConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |inputs, outputs| Linear::new(inputs, outputs, config.mlp_bias, device);
        Self {
            gate_proj: linear(hidden, inner),
            up_proj: linear(hidden, inner),
            down_proj: linear(inner, hidden),
            act: config.hidden_act,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let layers = [&self.gate_proj, &self.up_proj, &self.down_proj];
        let plain = layers.iter().all(|layer| layer.bias.is_none()) && !adapted(layers);
        if self.act == Activation::Silu && plain {
            match layers.map(Linear::form) {
                [
                    Some(Form::Quantised(gate)),
                    Some(Form::Quantised(up)),
                    Some(Form::Quantised(down)),
                ] => return kernels::packed_swiglu_mlp(x, gate, up, down),
                [
                    Some(Form::Prepacked(gate)),
                    Some(Form::Prepacked(up)),
                    Some(Form::Prepacked(down)),
                ] => return kernels::prepacked_swiglu_mlp(x, gate, up, down),
                [None, None, None] => {
                    let [gate, up, down] = layers.map(|layer| layer.weight.val());
                    return kernels::swiglu_mlp(x, gate, up, down);
                }
                _ => {}
            }
        }
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(self.act.apply(gate) * up)
    }
}

/// One layer: self-attention, in some layers a look at the images, MLP.
#[derive(Module, Debug)]
pub struct LlamaLayer {
    /// Self-attention.
    pub self_attn: LlamaAttention,
    /// MLP.
    pub mlp: LlamaMlp,
    /// Before self-attention.
    pub input_layernorm: RmsNorm,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// Gated cross-attention to the images, between the two. Not part of published checkpoints.
    pub mmfs: Option<GatedMmfs>,
    /// Factor on what attention and MLP add.
    #[module(skip)]
    residual: f64,
}

impl LlamaLayer {
    pub(super) fn new(
        config: &LlamaConfig,
        index: usize,
        mmfs: Option<&LlamaMmfsConfig>,
        device: &Device,
    ) -> Self {
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
        let offset = config.model_type.norm_offset();
        let norm = || RmsNorm::new(hidden, eps, device).with_offset(offset);
        Self {
            self_attn: LlamaAttention::new(config, index, device),
            mlp: LlamaMlp::new(config, device),
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
            residual: config.residual_multiplier,
            mmfs: mmfs.map(|mmfs| GatedMmfs::new(&mmfs.mmfs(hidden), eps, device)),
        }
    }

    /// - `images`: this layer's projected image features and `[batch, seq, images]` relative
    ///   positions; without images a block adds what it adds where none is visible
    /// - `recompute`: compute attention and MLP again in the backward pass
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: &AttentionContext,
        images: Option<(&MmfsValues, Tensor<3, Int>)>,
        past: Past,
        recompute: bool,
    ) -> Tensor<3> {
        let recompute = recompute && matches!(past, Past::None);
        let shared = context.clone();
        if recompute && self.mmfs.is_none() {
            return checkpoint(self, [x], move |layer, [x]| {
                layer.feed(layer.attend(x, &shared, Past::None))
            });
        }
        let x = if recompute {
            checkpoint(self, [x], move |layer, [x]| {
                layer.attend(x, &shared, Past::None)
            })
        } else {
            self.attend(x, context, past)
        };
        let x = match (&self.mmfs, images) {
            (Some(mmfs), Some((values, relative))) => x.clone() + mmfs.attend(x, values, relative),
            (Some(mmfs), None) => x.clone() + like(mmfs.unseen(), &x),
            (None, _) => x,
        };
        if recompute {
            checkpoint(self, [x], |layer, [x]| layer.feed(x))
        } else {
            self.feed(x)
        }
    }

    /// Its linear layers, by name.
    pub(super) fn linears(&self) -> [(&'static str, &Linear); 7] {
        let (attn, mlp) = (&self.self_attn, &self.mlp);
        [
            ("self_attn.q_proj", &attn.q_proj),
            ("self_attn.k_proj", &attn.k_proj),
            ("self_attn.v_proj", &attn.v_proj),
            ("self_attn.o_proj", &attn.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ]
    }

    /// As [`Self::linears`].
    pub(super) fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        let (attn, mlp) = (&mut self.self_attn, &mut self.mlp);
        [
            ("self_attn.q_proj", &mut attn.q_proj),
            ("self_attn.k_proj", &mut attn.k_proj),
            ("self_attn.v_proj", &mut attn.v_proj),
            ("self_attn.o_proj", &mut attn.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }

    fn attend(&self, x: Tensor<3>, context: &AttentionContext, past: Past) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        x + self.added(self.self_attn.forward(normed, context, past))
    }

    fn feed(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.post_attention_layernorm.forward(x.clone());
        x + self.added(self.mlp.forward(normed))
    }

    fn added(&self, x: Tensor<3>) -> Tensor<3> {
        if self.residual == 1.0 {
            return x;
        }
        x.mul_scalar(self.residual)
    }
}

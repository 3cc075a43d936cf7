use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use deem_kernels::{AttentionMask, rotary};

use super::LlamaConfig;
use super::cache::LayerCache;
use crate::attention::{mix_heads, split_heads};
use crate::nn::Linear;

/// Causal self-attention with rotary positions and grouped key-value heads.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `hidden_size` → `heads * head_dim`
    pub q_proj: Linear,
    /// `hidden_size` → `kv_heads * head_dim`
    pub k_proj: Linear,
    /// `hidden_size` → `kv_heads * head_dim`
    pub v_proj: Linear,
    /// `heads * head_dim` → `hidden_size`
    pub o_proj: Linear,
    #[module(skip)]
    head_dim: usize,
}

/// What all layers of one call share.
#[derive(Clone, Debug)]
pub(super) struct AttentionContext {
    /// `[batch, seq, head_dim]`
    pub cos: Tensor<3>,
    /// `[batch, seq, head_dim]`
    pub sin: Tensor<3>,
    /// `[batch, keys]`, true = visible
    pub key_padding: Option<Tensor<2, Bool>>,
}

impl LlamaAttention {
    pub(super) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let (hidden, head_dim) = (config.hidden_size, config.head_width());
        let queries = config.num_attention_heads * head_dim;
        let keys = config.kv_heads() * head_dim;
        let linear = |inputs, outputs| Linear::new(inputs, outputs, config.attention_bias, device);
        Self {
            q_proj: linear(hidden, queries),
            k_proj: linear(hidden, keys),
            v_proj: linear(hidden, keys),
            o_proj: linear(queries, hidden),
            head_dim,
        }
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: &AttentionContext,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let count = x.dims()[2] / self.head_dim;
            split_heads(x, count)
        };
        let (cos, sin) = (&context.cos, &context.sin);
        let query = heads(self.q_proj.forward(x.clone()));
        let key = heads(self.k_proj.forward(x.clone()));
        let value = heads(self.v_proj.forward(x));
        let query = rotary(query, cos.clone(), sin.clone());
        let key = rotary(key, cos.clone(), sin.clone());
        let (key, value) = match cache {
            None => (key, value),
            Some(cache) => cache.append(key, value),
        };
        let mask = AttentionMask {
            causal: true,
            key_padding: context.key_padding.clone(),
            bias: None,
        };
        self.o_proj.forward(mix_heads(query, key, value, mask))
    }
}

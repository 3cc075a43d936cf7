//! Perceiver resamplers R_V and R_C (spec: components), in the style of BLIP-2's Q-Former.
//!
//! A fixed number of queries reads a sequence of any length: post-norm transformer layers, some of
//! which attend to the sequence. With `qk_normalization`, queries and keys are normalised per head.
//! Structure and keys are those of transformers `Blip2QFormerModel` (plus `q_norm`, `k_norm`).
#![allow(non_snake_case)] // the field `LayerNorm` is a checkpoint's key

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use deem_kernels::AttentionMask;
use serde::{Deserialize, Serialize};

use crate::activation::{Activation, mlp};
use crate::attention::{mix_heads, split_heads};
use crate::checks::{Number, numbers, uneven, zeros};
use crate::nn::{LayerNorm, Linear};

/// Dimensions of a resampler: transformers `Blip2QFormerConfig` and `qk_normalization`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PerceiverConfig {
    /// Width of the queries.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width inside the MLPs.
    pub intermediate_size: usize,
    /// Non-linearity of the MLPs.
    pub hidden_act: Activation,
    /// Constant of the norms.
    pub layer_norm_eps: f64,
    /// Layers 0, n, 2n, … attend to the sequence.
    pub cross_attention_frequency: usize,
    /// Width of the sequence.
    pub encoder_hidden_size: usize,
    /// Whether checkpoints carry MLPs for text input. They are kept, and never run.
    pub use_qformer_text_input: bool,
    /// LayerNorm on queries and keys of each head.
    pub qk_normalization: bool,
}

impl Default for PerceiverConfig {
    /// The defaults of transformers, without qk-norm.
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            cross_attention_frequency: 2,
            encoder_hidden_size: 1408,
            use_qformer_text_input: false,
            qk_normalization: false,
        }
    }
}

/// What can be wrong with a resampler's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerceiverError {
    /// Everything that does not fit together.
    #[error("resampler configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

impl PerceiverConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), PerceiverError> {
        let mut problems = zeros(&[
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("cross_attention_frequency", self.cross_attention_frequency),
            ("encoder_hidden_size", self.encoder_hidden_size),
        ]);
        problems.extend(uneven(
            "hidden_size",
            self.hidden_size,
            self.num_attention_heads,
        ));
        problems.extend(numbers(&[(
            "layer_norm_eps",
            self.layer_norm_eps,
            Number::FromZero,
        )]));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(PerceiverError::Config(problems))
        }
    }
}

/// A resampler. The queries are an argument: they belong to whoever uses it.
#[derive(Module, Debug)]
pub struct Perceiver {
    layernorm: LayerNorm,
    encoder: Layers,
}

impl Perceiver {
    /// A resampler of the given dimensions.
    pub fn new(config: &PerceiverConfig, device: &Device) -> Self {
        let layer = (0..config.num_hidden_layers).map(|index| Layer::new(config, index, device));
        Self {
            layernorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, device),
            encoder: Layers {
                layer: layer.collect(),
            },
        }
    }

    /// # Shapes
    /// - `queries`: `[1 or batch, queries, hidden_size]`
    /// - `sequence`: `[batch, length, encoder_hidden_size]`
    /// - `real`: `[batch, length]`, false for padding; `None` if there is none
    /// - returns `[batch, queries, hidden_size]`
    pub fn forward(
        &self,
        queries: Tensor<3>,
        sequence: Tensor<3>,
        real: Option<Tensor<2, Bool>>,
    ) -> Tensor<3> {
        let [batch, ..] = sequence.dims();
        let [given, count, width] = queries.dims();
        let queries = self.layernorm.forward(queries);
        let mut x = if given == batch {
            queries
        } else {
            queries.expand([batch, count, width])
        };
        let mask = AttentionMask {
            key_padding: real,
            ..AttentionMask::default()
        };
        for layer in &self.encoder.layer {
            x = layer.forward(x, &sequence, &mask);
        }
        x
    }
}

#[derive(Module, Debug)]
struct Layers {
    layer: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    crossattention: Option<Attention>,
    intermediate: Option<Dense>,
    output: Option<Output>,
    intermediate_query: Dense,
    output_query: Output,
    #[module(skip)]
    activation: Activation,
}

impl Layer {
    fn new(config: &PerceiverConfig, index: usize, device: &Device) -> Self {
        let PerceiverConfig {
            hidden_size,
            intermediate_size,
            encoder_hidden_size,
            ..
        } = *config;
        let dense = || Dense {
            dense: Linear::new(hidden_size, intermediate_size, true, device),
        };
        let output = || Output::new(intermediate_size, config, device);
        let crosses = index.is_multiple_of(config.cross_attention_frequency);
        let text = config.use_qformer_text_input;
        Self {
            attention: Attention::new(hidden_size, config, device),
            crossattention: crosses.then(|| Attention::new(encoder_hidden_size, config, device)),
            intermediate: text.then(dense),
            output: text.then(output),
            intermediate_query: dense(),
            output_query: output(),
            activation: config.hidden_act,
        }
    }

    fn forward(&self, x: Tensor<3>, sequence: &Tensor<3>, mask: &AttentionMask) -> Tensor<3> {
        let mut x = self
            .attention
            .forward(x.clone(), x, AttentionMask::default());
        if let Some(cross) = &self.crossattention {
            x = cross.forward(x, sequence.clone(), mask.clone());
        }
        let (up, down) = (&self.intermediate_query.dense, &self.output_query.dense);
        let fed = mlp(x.clone(), up, self.activation, down);
        self.output_query.LayerNorm.forward(fed + x)
    }
}

#[derive(Module, Debug)]
struct Dense {
    dense: Linear,
}

/// `LayerNorm(dense(x) + residual)`
#[derive(Module, Debug)]
struct Output {
    dense: Linear,
    LayerNorm: LayerNorm,
}

impl Output {
    fn new(inputs: usize, config: &PerceiverConfig, device: &Device) -> Self {
        Self {
            dense: Linear::new(inputs, config.hidden_size, true, device),
            LayerNorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, device),
        }
    }

    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.LayerNorm.forward(self.dense.forward(x) + residual)
    }
}

#[derive(Module, Debug)]
struct Attention {
    attention: HeadAttention,
    output: Output,
}

impl Attention {
    fn new(key_width: usize, config: &PerceiverConfig, device: &Device) -> Self {
        let PerceiverConfig {
            hidden_size: width,
            num_attention_heads: heads,
            layer_norm_eps,
            ..
        } = *config;
        let linear = |inputs| Linear::new(inputs, width, true, device);
        let norm = || LayerNorm::new(width / heads, layer_norm_eps, device);
        Self {
            attention: HeadAttention {
                query: linear(width),
                key: linear(key_width),
                value: linear(key_width),
                q_norm: config.qk_normalization.then(norm),
                k_norm: config.qk_normalization.then(norm),
                heads,
            },
            output: Output::new(width, config, device),
        }
    }

    fn forward(&self, x: Tensor<3>, keys: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        let attended = self.attention.forward(x.clone(), keys, mask);
        self.output.forward(attended, x)
    }
}

#[derive(Module, Debug)]
struct HeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    q_norm: Option<LayerNorm>,
    k_norm: Option<LayerNorm>,
    #[module(skip)]
    heads: usize,
}

impl HeadAttention {
    fn forward(&self, x: Tensor<3>, keys: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        let normed = |x: Tensor<3>, norm: &Option<LayerNorm>| {
            let x = split_heads(x, self.heads);
            match norm {
                Some(norm) => norm.forward(x),
                None => x,
            }
        };
        let q = normed(self.query.forward(x), &self.q_norm);
        let k = normed(self.key.forward(keys.clone()), &self.k_norm);
        let v = split_heads(self.value.forward(keys), self.heads);
        mix_heads(q, k, v, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_named_at_once() {
        let config = PerceiverConfig {
            num_attention_heads: 7,
            cross_attention_frequency: 0,
            ..PerceiverConfig::default()
        };
        let text = config.validate().unwrap_err().to_string();
        assert!(text.contains("hidden_size 768") && text.contains("cross_attention_frequency"));
    }

    /// The figures of the paper's full-size build (spec: parameter counts), without the queries.
    #[test]
    fn full_size_parameter_counts() {
        let device = Device::flex();
        let image = PerceiverConfig {
            encoder_hidden_size: 1024,
            qk_normalization: true,
            ..PerceiverConfig::default()
        };
        let count = Perceiver::new(&image, &device).num_params() + 77 * 768;
        assert!((count as f64 / 1e6 - 101.66).abs() < 0.005, "{count}");
        let context = PerceiverConfig {
            hidden_size: 1024,
            num_hidden_layers: 1,
            num_attention_heads: 16,
            cross_attention_frequency: 1,
            encoder_hidden_size: 4096,
            ..image
        };
        let count = Perceiver::new(&context, &device).num_params() + 77 * 1024;
        assert!((count as f64 / 1e6 - 21.07).abs() < 0.005, "{count}");
    }
}

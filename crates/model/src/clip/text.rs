//! Text towers of CLIP and SigLIP (transformers `CLIPTextModel`, `SiglipTextModel`): a transformer over token ids.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use deem_kernels::AttentionMask;

use super::config::{ClipTextConfig, TextPooling, TextReading};
use super::encoder::{Encoder, EncoderDims};
use crate::nn::{Embedding, LayerNorm, Linear};

/// Features of some texts.
#[derive(Clone, Debug)]
pub struct ClipTextOutput {
    /// `[batch, seq, hidden_size]`
    pub last_hidden_state: Tensor<3>,
    /// `[batch, hidden_size]`: the state where each text is summed up.
    pub pooler_output: Tensor<2>,
    /// `[batch, projection_dim]`: the pooled state in the shared space, if the tower projects.
    pub text_embeds: Option<Tensor<2>>,
}

/// The text tower.
#[derive(Module, Debug)]
pub struct ClipText {
    embeddings: Embeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    /// To the space shared with images; absent in `CLIPTextModel` checkpoints, `head` in `SiglipTextModel`.
    pub text_projection: Option<Linear>,
    #[module(skip)]
    eos_token_id: i64,
    #[module(skip)]
    reading: TextReading,
}

#[derive(Module, Debug)]
struct Embeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

impl ClipText {
    /// A tower of the given dimensions, without projection.
    pub fn new(config: &ClipTextConfig, device: &Device) -> Self {
        let ClipTextConfig {
            hidden_size,
            layer_norm_eps,
            ..
        } = *config;
        let dims = EncoderDims {
            width: hidden_size,
            intermediate: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: layer_norm_eps,
        };
        let positions = config.max_position_embeddings;
        Self {
            embeddings: Embeddings {
                token_embedding: Embedding::new(config.vocab_size, hidden_size, device),
                position_embedding: Embedding::new(positions, hidden_size, device),
            },
            encoder: Encoder::new(dims, device),
            final_layer_norm: LayerNorm::new(hidden_size, layer_norm_eps, device),
            text_projection: None,
            eos_token_id: config.eos_token_id,
            reading: config.reading,
        }
    }

    /// The same with a projection to `projection_dim` features (transformers `CLIPTextModelWithProjection`).
    pub fn with_projection(mut self, config: &ClipTextConfig, device: &Device) -> Self {
        let (inputs, outputs) = (
            config.hidden_size,
            config.projection_dim.unwrap_or(config.hidden_size),
        );
        let bias = config.reading.projection_bias;
        self.text_projection = Some(Linear::new(inputs, outputs, bias, device));
        self
    }

    /// # Shapes
    /// - `input_ids`: `[batch, seq]`, `seq` at most `max_position_embeddings`
    /// - `real`: `[batch, seq]`, false for padding that must not be seen (Stable Diffusion sees all)
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        real: Option<Tensor<2, Bool>>,
    ) -> ClipTextOutput {
        let [batch, seq] = input_ids.dims();
        let Embeddings {
            token_embedding,
            position_embedding,
        } = &self.embeddings;
        let positions = position_embedding.weight.val().narrow(0, 0, seq);
        let x = token_embedding.forward(input_ids.clone()) + positions.unsqueeze::<3>();
        let mask = AttentionMask {
            causal: self.reading.causal,
            key_padding: real,
            bias: None,
        };
        let layers = 0..self.encoder.layers.len();
        let x = self.encoder.run(x, layers, &mask);
        let x = self.final_layer_norm.forward(x);

        let width = x.dims()[2];
        let end = self.end(input_ids).reshape([batch, 1, 1]);
        let pooled = x
            .clone()
            .gather(1, end.expand([batch, 1, width]))
            .reshape([batch, width]);
        ClipTextOutput {
            text_embeds: self
                .text_projection
                .as_ref()
                .map(|projection| projection.forward(pooled.clone())),
            last_hidden_state: x,
            pooler_output: pooled,
        }
    }

    /// Position where each text is summed up, `[batch, 1]`: the last token, the first end-of-text token (0 if
    /// there is none), or, by the old convention, the first of the highest ids.
    fn end(&self, ids: Tensor<2, Int>) -> Tensor<2, Int> {
        let [batch, seq] = ids.dims();
        let is_end = match self.reading.pooling {
            TextPooling::Last => {
                return Tensor::full([batch, 1], seq as i64 - 1, &ids.device());
            }
            TextPooling::End if self.eos_token_id != 2 => ids.equal_elem(self.eos_token_id),
            TextPooling::Token => ids.equal_elem(self.eos_token_id),
            TextPooling::End | TextPooling::Highest => {
                let highest = ids.clone().max_dim(1).expand([batch, seq]);
                ids.equal(highest)
            }
        };
        let none = seq as i64;
        let first = Tensor::<1, Int>::arange(0..none, &is_end.device())
            .unsqueeze::<2>()
            .expand([batch, seq])
            .mask_fill(is_end.bool_not(), none)
            .min_dim(1);
        let absent = first.clone().equal_elem(none);
        first.mask_fill(absent, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_by_all_conventions() {
        let device = Device::flex();
        let ids = [[0, 5, 9, 9], [7, 3, 3, 0], [9, 1, 1, 1]];
        let ends = |eos_token_id, pooling| -> Vec<i64> {
            let config = ClipTextConfig {
                eos_token_id,
                reading: TextReading {
                    pooling,
                    ..TextReading::CLIP
                },
                ..ClipTextConfig::default()
            };
            let tower = ClipText::new(&config, &device);
            let ids = Tensor::<2, Int>::from_data(ids, &device);
            tower.end(ids).into_data().iter::<i64>().collect()
        };
        assert_eq!(ends(9, TextPooling::End), [2, 0, 0]);
        assert_eq!(ends(3, TextPooling::End), [0, 1, 0]);
        assert_eq!(ends(2, TextPooling::End), [2, 0, 0]);
        assert_eq!(ends(2, TextPooling::Token), [0, 0, 0]);
        assert_eq!(ends(3, TextPooling::Highest), [2, 0, 0]);
        assert_eq!(ends(9, TextPooling::Last), [3, 3, 3]);
    }
}

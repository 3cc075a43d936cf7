//! ViT image towers of CLIP and SigLIP (Dosovitskiy et al. 2021; transformers `CLIPVisionModel`,
//! `SiglipVisionModel`).
//!
//! For an image of another size than the tower was trained on, the position table is resized
//! bicubically, differentiably.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use deem_kernels::AttentionMask;
use deem_kernels::precision::{like, wide};

use super::config::{ClipVisionConfig, Family};
use super::encoder::{Encoder, EncoderDims};
use super::pooling::AttentionPooling;
use crate::nn::{Conv2d, Conv2dOptions, Embedding, LayerNorm, Linear, param};
use crate::position::{Filter, resize};

/// Features of some images.
#[derive(Clone, Debug)]
pub struct ClipVitOutput {
    /// CLIP: `[batch, 1 + patches, hidden_size]`, the class token first. SigLIP: `[batch, patches, hidden_size]`,
    /// normalised.
    pub last_hidden_state: Tensor<3>,
    /// `[batch, hidden_size]`. CLIP: the class token, normalised. SigLIP: what attention makes of the patches.
    pub pooler_output: Tensor<2>,
    /// The asked-for hidden states, each like `last_hidden_state`; number 0 is the input of the
    /// first layer, number `n` the output of layer `n`.
    pub hidden_states: Vec<Tensor<3>>,
    /// `[batch, projection_dim]`: the pooled state in the shared space, if the tower projects. SigLIP's pooled state is
    /// there already.
    pub image_embeds: Option<Tensor<2>>,
}

/// The image tower.
#[derive(Module, Debug)]
pub struct ClipVit {
    embeddings: Embeddings,
    pre_layrnorm: Option<LayerNorm>,
    encoder: Encoder,
    post_layernorm: LayerNorm,
    head: Option<AttentionPooling>,
    /// To the space shared with text, without bias; absent in `CLIPVisionModel` checkpoints.
    pub visual_projection: Option<Linear>,
}

#[derive(Module, Debug)]
struct Embeddings {
    class_embedding: Option<Param<Tensor<1>>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
    #[module(skip)]
    grid: usize,
}

impl ClipVit {
    /// A tower of the given dimensions, without projection.
    pub fn new(config: &ClipVisionConfig, device: &Device) -> Self {
        let ClipVisionConfig {
            hidden_size,
            patch_size,
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
        let patches = Conv2dOptions {
            stride: [patch_size; 2],
            ..Conv2dOptions::default()
        };
        let grid = config.image_size / patch_size;
        let channels = config.num_channels;
        let patches = Conv2d::new(channels, hidden_size, patch_size, patches, device);
        let norm = || LayerNorm::new(hidden_size, layer_norm_eps, device);
        let (class_embedding, patch_embedding, pre_layrnorm, head) = match config.family {
            Family::Clip => {
                let class = param([hidden_size], 0.0, device);
                (Some(class), patches.without_bias(), Some(norm()), None)
            }
            Family::Siglip => (
                None,
                patches,
                None,
                Some(AttentionPooling::new(dims, device)),
            ),
        };
        let positions = usize::from(class_embedding.is_some()) + grid * grid;
        Self {
            embeddings: Embeddings {
                class_embedding,
                patch_embedding,
                position_embedding: Embedding::new(positions, hidden_size, device),
                grid,
            },
            pre_layrnorm,
            encoder: Encoder::new(dims, device),
            post_layernorm: norm(),
            head,
            visual_projection: None,
        }
    }

    /// The same with a projection to `projection_dim` features (transformers `CLIPVisionModelWithProjection`); SigLIP's
    /// has none and needs none.
    pub fn with_projection(mut self, config: &ClipVisionConfig, device: &Device) -> Self {
        if config.family == Family::Siglip {
            return self;
        }
        let (inputs, outputs) = (config.hidden_size, config.projection_dim);
        self.visual_projection = Some(Linear::new(inputs, outputs, false, device));
        self
    }

    /// Compute layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpoint: bool) -> Self {
        self.encoder.checkpoint = checkpoint;
        self
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised
    /// - `hidden_states`: which hidden states to return, in any order
    ///
    /// # Panics
    /// If a hidden state beyond the last layer is asked for.
    pub fn forward(&self, pixels: Tensor<4>, hidden_states: &[usize]) -> ClipVitOutput {
        let (mut x, _) = self.embed(pixels);
        let layers = self.depth();
        let mut kept = vec![None; hidden_states.len()];
        for index in 0..=layers {
            for (slot, asked) in kept.iter_mut().zip(hidden_states) {
                if *asked == index {
                    *slot = Some(x.clone());
                }
            }
            if index < layers {
                x = self.layers(x, index..index + 1);
            }
        }
        let kept = kept.into_iter().collect::<Option<Vec<_>>>();
        let pooler_output = match &self.head {
            Some(head) => {
                x = self.post_layernorm.forward(x);
                head.forward(x.clone())
            }
            None => {
                let [batch, _, width] = x.dims();
                let class = x.clone().narrow(1, 0, 1).reshape([batch, width]);
                self.post_layernorm.forward(class)
            }
        };
        ClipVitOutput {
            last_hidden_state: x,
            hidden_states: kept.unwrap_or_else(|| {
                panic!("hidden states {hidden_states:?} of a tower with {layers} layers")
            }),
            image_embeds: match (&self.visual_projection, &self.head) {
                (Some(projection), _) => Some(projection.forward(pooler_output.clone())),
                (None, Some(_)) => Some(pooler_output.clone()),
                (None, None) => None,
            },
            pooler_output,
        }
    }

    /// The input of the first layer, and its grid `[height, width]`.
    pub(crate) fn embed(&self, pixels: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let embeddings = &self.embeddings;
        let patches = pixels.permute([0, 2, 3, 1]);
        let patches = embeddings.patch_embedding.forward(patches);
        let [batch, height, width, channels] = patches.dims();
        let patches = patches.reshape([batch, height * width, channels]);
        let positions = embeddings.positions([height, width]);
        let positions = like(positions, &patches).unsqueeze::<3>();
        let x = match &embeddings.class_embedding {
            Some(class) => {
                let class = like(class.val(), &patches)
                    .reshape([1, 1, channels])
                    .expand([batch, 1, channels]);
                Tensor::cat(vec![class, patches], 1)
            }
            None => patches,
        };
        let x = x + positions;
        let x = match &self.pre_layrnorm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        (x, [height, width])
    }

    /// Whether a class token stands before the patches.
    pub fn has_class_token(&self) -> bool {
        self.embeddings.class_embedding.is_some()
    }

    /// Number of layers.
    pub(crate) fn depth(&self) -> usize {
        self.encoder.layers.len()
    }

    /// Runs some of the layers.
    pub(crate) fn layers(&self, x: Tensor<3>, range: std::ops::Range<usize>) -> Tensor<3> {
        self.encoder.run(x, range, &AttentionMask::default())
    }
}

impl Embeddings {
    /// `[height * width, hidden_size]`, after one for the class token if there is one.
    fn positions(&self, size: [usize; 2]) -> Tensor<2> {
        let table = self.position_embedding.weight.val();
        if size == [self.grid; 2] {
            return table;
        }
        let [rows, width] = table.dims();
        let table = wide(table);
        let before = rows - self.grid * self.grid;
        let patches = table
            .clone()
            .narrow(0, before, rows - before)
            .reshape([1, self.grid, self.grid, width]);
        let patches = resize(patches, size, Filter::Bicubic).reshape([size[0] * size[1], width]);
        if before == 0 {
            return patches;
        }
        Tensor::cat(vec![table.narrow(0, 0, before), patches], 0)
    }
}

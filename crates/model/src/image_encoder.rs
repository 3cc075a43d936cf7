//! From pixels to visual tokens and condition tokens (spec: from encoder to language model).
//!
//! E_V sees the image, E_M keeps the asked-for region, R_V resamples the sequence to a fixed number
//! of tokens. `proj_t` makes them embeddings for the language model; `proj_i` makes them the condition
//! with which the diffusion model must restore the image.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::clip::pyramid::{Pyramid, VisionConfig, VisionTower};
use crate::mask_extractor::{extract, extract_sequence};
use crate::nn::{LayerNorm, Linear, param};
use crate::perceiver::{Perceiver, PerceiverConfig};
use crate::position::PositionTable;

/// Grid for which the fixed position table is made; other grids get it resized.
const POSITION_GRID: usize = 16;

/// Constant of the norms, the official code's.
const NORM_EPS: f64 = 1e-6;

/// Dimensions of the image encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEncoderConfig {
    /// E_V and its pyramid.
    pub vision: VisionConfig,
    /// R_V.
    pub resampler: PerceiverConfig,
    /// Number of queries, that is of visual tokens per image.
    pub queries: usize,
}

/// What the encoder understood of some images.
#[derive(Clone, Debug)]
pub struct EncodedImages {
    /// `[images, queries, llm_dim]`, embeddings for the language model.
    pub embeddings: Tensor<3>,
    /// `[images, queries, cross_dim]`, condition tokens for the diffusion model.
    pub condition: Tensor<3>,
    /// Masked pyramid, finest level first, `[images, height, width, channels]` each.
    pub pyramid: Vec<Tensor<4>>,
}

/// E_V, E_M, R_V and the two projections.
#[derive(Module, Debug)]
pub struct ImageEncoder {
    /// E_V.
    pub vision: VisionTower,
    /// Projects the sequence before its position is added.
    pub pos_proj: Linear,
    /// After `pos_proj`.
    pub pos_ln: LayerNorm,
    /// Before the resampler.
    pub ln: LayerNorm,
    /// `[queries, hidden]`
    pub query_tokens: Param<Tensor<2>>,
    /// R_V.
    pub resampler: Perceiver,
    /// Resampler width → language-model width.
    pub proj_t: Linear,
    /// Resampler width → diffusion cross-attention width.
    pub proj_i: Linear,
    #[module(skip)]
    position: PositionTable,
}

impl ImageEncoder {
    /// An encoder for a language model of width `llm_dim` and a diffusion model with
    /// cross-attention width `cross_dim`.
    pub fn new(
        config: &ImageEncoderConfig,
        llm_dim: usize,
        cross_dim: usize,
        device: &Device,
    ) -> Self {
        let width = config.vision.pyramid_dim();
        let hidden = config.resampler.hidden_size;
        Self {
            vision: VisionTower::new(&config.vision, device),
            pos_proj: Linear::new(width, width, true, device),
            pos_ln: LayerNorm::new(width, NORM_EPS, device),
            ln: LayerNorm::new(width, NORM_EPS, device),
            query_tokens: param([config.queries, hidden], 0.0, device),
            resampler: Perceiver::new(&config.resampler, device),
            proj_t: Linear::new(hidden, llm_dim, true, device),
            proj_i: Linear::new(hidden, cross_dim, true, device),
            position: PositionTable::new(POSITION_GRID, width),
        }
    }

    /// # Shapes
    /// - `pixels`: `[images, 3, height, width]`, range [0, 1]
    /// - `mask`: `[images, height, width]`, positive inside the region; `None` is the whole image
    pub fn forward(&self, pixels: Tensor<4>, mask: Option<Tensor<3>>) -> EncodedImages {
        let Pyramid { levels, sequence } = self.vision.forward(pixels);
        let [_, height, width, _] = levels[2].dims();
        let grid = [height, width];
        let sequence = self.pos_ln.forward(self.pos_proj.forward(sequence));
        let sequence = self.position.add_to_sequence(sequence, grid);
        let sequence = extract_sequence(sequence, grid, mask.as_ref());
        let queries = self.query_tokens.val().unsqueeze::<3>();
        let tokens = self
            .resampler
            .forward(queries, self.ln.forward(sequence), None);
        let pyramid = levels
            .into_iter()
            .map(|level| extract(self.position.add_to(level), mask.as_ref()))
            .collect();
        EncodedImages {
            embeddings: self.proj_t.forward(tokens.clone()),
            condition: self.proj_i.forward(tokens),
            pyramid,
        }
    }
}

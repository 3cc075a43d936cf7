//! From pixels to visual tokens and condition tokens (spec: from encoder to language model).
//!
//! E_V sees the image, E_M keeps the asked-for region, R_V resamples the sequence to a fixed number
//! of tokens. `proj_t` makes them embeddings for the language model; `proj_i` makes them the condition
//! with which the diffusion model must restore the image.

use burn::module::{Module, Param};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use deem_kernels::precision::like;
use serde::{Deserialize, Serialize};

use crate::clip::pyramid::{Pyramid, VisionConfig, VisionTower};
use crate::encoded_images::EncodedImages;
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
    /// Whether each query starts from what it is to describe: the first from the global token, the
    /// others from the regions of a square grid, pooled from the coarsest level, where objects are
    /// recognised (so there are 1 + n² of them, as wide as the pyramid).
    ///
    /// Differs from: the official code, whose queries start equal for all images. Without long
    /// pre-training such queries learn to average the image.
    #[serde(default)]
    pub pooled_queries: bool,
}

/// What can be wrong with an image encoder's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageEncoderError {
    /// Pooled queries need a global query and a square of regions.
    #[error("pooled_queries: expected 1 + n² queries (2, 5, 10, 17, …), found queries = {0}")]
    Queries(usize),
    /// Pooled queries are features of the pyramid.
    #[error(
        "pooled_queries: expected resampler.hidden_size = vision.pyramid_dim, found {hidden} and {pyramid}"
    )]
    Width {
        /// Width of the queries.
        hidden: usize,
        /// Width of the pyramid.
        pyramid: usize,
    },
}

impl ImageEncoderConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// Pooled queries whose number or width cannot be.
    pub fn validate(&self) -> Result<(), ImageEncoderError> {
        if !self.pooled_queries {
            return Ok(());
        }
        let side = self.query_grid();
        if side == 0 || 1 + side * side != self.queries {
            return Err(ImageEncoderError::Queries(self.queries));
        }
        let (hidden, pyramid) = (self.resampler.hidden_size, self.vision.pyramid_dim());
        if hidden != pyramid {
            return Err(ImageEncoderError::Width { hidden, pyramid });
        }
        Ok(())
    }

    fn query_grid(&self) -> usize {
        self.queries.saturating_sub(1).isqrt()
    }
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
    /// Regions per side that the queries start from.
    #[module(skip)]
    query_grid: Option<usize>,
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
            query_grid: config.pooled_queries.then(|| config.query_grid()),
        }
    }

    /// What is made of the image tower's features.
    ///
    /// # Shapes
    /// - `features`: of `[images, 3, height, width]` pixels
    /// - `mask`: `[images, height, width]`, positive inside the region; `None` is the whole image
    pub fn forward(&self, features: Pyramid, mask: Option<Tensor<3>>) -> EncodedImages {
        let Pyramid { levels, sequence } = features;
        let [_, height, width, _] = levels.c4.dims();
        let grid = [height, width];
        let sequence = self.pos_ln.forward(self.pos_proj.forward(sequence));
        let sequence = self.position.add_to_sequence(sequence, grid);
        let sequence = extract_sequence(sequence, grid, mask.as_ref());
        let sequence = self.ln.forward(sequence);
        let pyramid = levels.map(|level| extract(self.position.add_to(level), mask.as_ref()));
        let queries = self.queries(&sequence, &pyramid.c5);
        let tokens = self.resampler.forward(queries, sequence, None);
        EncodedImages {
            embeddings: self.proj_t.forward(tokens.clone()),
            condition: self.proj_i.forward(tokens),
            pyramid,
        }
    }

    /// `[1 or images, queries, hidden]`
    fn queries(&self, sequence: &Tensor<3>, coarsest: &Tensor<4>) -> Tensor<3> {
        let learned = like(self.query_tokens.val(), sequence).unsqueeze::<3>();
        let Some(side) = self.query_grid else {
            return learned;
        };
        let [images, _, _, features] = coarsest.dims();
        let regions = adaptive_avg_pool2d(coarsest.clone().permute([0, 3, 1, 2]), [side, side]);
        let regions = regions
            .reshape([images, features, side * side])
            .swap_dims(1, 2);
        learned + Tensor::cat(vec![sequence.clone().narrow(1, 0, 1), regions], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_queries_are_a_global_token_and_a_square_of_regions() {
        let json = r#"{"vision": {"tower": "conv_next", "trunk": {}, "pyramid_dim": 8},
            "resampler": {"hidden_size": 8}, "queries": 5, "pooled_queries": true}"#;
        let config: ImageEncoderConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.validate(), Ok(()));
        let queries = ImageEncoderConfig {
            queries: 6,
            ..config.clone()
        };
        assert_eq!(queries.validate(), Err(ImageEncoderError::Queries(6)));
        let mut width = config;
        width.resampler.hidden_size = 16;
        assert!(matches!(
            width.validate(),
            Err(ImageEncoderError::Width {
                hidden: 16,
                pyramid: 8
            })
        ));
    }
}

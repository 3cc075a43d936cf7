//! From the language model's context to a condition for the diffusion model (spec: context for
//! image generation).
//!
//! The hidden states from the nearest bos to an `<soi>`, reversed in time, are projected, given a
//! sine-cosine position and resampled to condition tokens (R_C). Classifier-free guidance replaces
//! them by a trainable null condition.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Tensor};
use deem_kernels::precision::like;
use serde::{Deserialize, Serialize};

use crate::nn::{Linear, param};
use crate::perceiver::{Perceiver, PerceiverConfig};
use crate::position::sincos_1d;
use crate::unet::{UnetSynchronizer, UnetSynchronizerConfig};

/// Dimensions of the image decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDecoderConfig {
    /// R_C, whose hidden size is the diffusion model's cross-attention width.
    pub resampler: PerceiverConfig,
    /// The MMFS blocks added to the UNet; absent: the UNet sees condition tokens only.
    pub synchronizer: Option<UnetSynchronizerConfig>,
}

/// The trainable parts on the way from context to image.
#[derive(Module, Debug)]
pub struct ImageDecoder {
    /// Language-model width → the same width.
    pub context_feat_proj: Linear,
    /// `[queries, hidden]`
    pub query_tokens: Param<Tensor<2>>,
    /// R_C.
    pub resampler: Perceiver,
    /// `[queries, hidden]`, used in place of a dropped context.
    pub null_condition: Param<Tensor<2>>,
    /// MMFS blocks on the UNet's skip connections.
    pub synchronizer: Option<UnetSynchronizer>,
}

impl ImageDecoder {
    /// A decoder with `queries` condition tokens for a language model of width `llm_dim`.
    pub fn new(
        config: &ImageDecoderConfig,
        synchronizer: Option<UnetSynchronizer>,
        queries: usize,
        llm_dim: usize,
        device: &Device,
    ) -> Self {
        let hidden = config.resampler.hidden_size;
        Self {
            context_feat_proj: Linear::new(llm_dim, llm_dim, true, device),
            query_tokens: param([queries, hidden], 0.0, device),
            resampler: Perceiver::new(&config.resampler, device),
            null_condition: param([queries, hidden], 0.0, device),
            synchronizer,
        }
    }

    /// Condition tokens of some contexts.
    ///
    /// # Shapes
    /// - `context`: `[images, positions, llm_dim]`, already reversed in time
    /// - `real`: `[images, positions]`, false for padding
    /// - `drop`: which images get the null condition instead
    /// - returns `[images, queries, hidden]`
    pub fn forward(&self, context: Tensor<3>, real: Tensor<2, Bool>, drop: &[bool]) -> Tensor<3> {
        let device = context.device();
        let [images, positions, width] = context.dims();
        let position = Tensor::<1>::from_floats(sincos_1d(positions, width).as_slice(), &device)
            .reshape([1, positions, width]);
        let position = like(position, &context);
        let context = self.context_feat_proj.forward(context) + position;
        let queries = like(self.query_tokens.val(), &context).unsqueeze::<3>();
        let condition = self.resampler.forward(queries, context, Some(real));
        if !drop.contains(&true) {
            return condition;
        }
        let keep: Vec<f32> = drop.iter().map(|d| f32::from(!d)).collect();
        let keep = Tensor::<1>::from_floats(keep.as_slice(), &device).reshape([images, 1, 1]);
        let keep = like(keep, &condition);
        let dropped = keep.clone().neg().add_scalar(1.0);
        let null = like(self.null(images), &condition);
        condition * keep + null * dropped
    }

    /// The null condition, repeated: `[images, queries, hidden]`.
    pub fn null(&self, images: usize) -> Tensor<3> {
        self.null_condition
            .val()
            .unsqueeze::<3>()
            .repeat_dim(0, images)
    }
}

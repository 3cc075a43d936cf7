//! What corrects a bare encoder: an image tower, a projection of what it sees to the denoiser's width, and a diffusion
//! model that must restore the picture under this condition. No language model, no words (DIVA, arXiv 2407.20171, and
//! what followed it).
//!
//! Parameters of the tower have the paths of transformers' `CLIPVisionModelWithProjection`, or of `SiglipVisionModel`; those
//! of a ConvNeXt open_clip's, below `vision_model.`.

mod config;
mod projection;

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use deem_kernels::precision::{cast, wide};

pub use config::{ConditionTokens, FeedbackConfig, FeedbackConfigError, NoisePath, ProjectionKind};
pub use projection::ConditionProjection;

use crate::autoencoder::Autoencoder;
use crate::clip::dual::ImageFeatures;
use crate::clip::tower::ImageTower;
use crate::diffusion::Diffusion;
use crate::nn::param;
use crate::scheduler::NoiseSchedule;
use crate::unet::UNet;

/// What an encoder sees in some pictures.
#[derive(Clone, Debug)]
pub struct EncoderFeatures {
    /// `[pictures, places, width]`: of each patch (of a ConvNeXt each cell of the last stage), row by row
    pub places: Tensor<3>,
    /// `[pictures, width]`: the class token, normalised; of SigLIP what attention makes of the patches
    pub pooled: Tensor<2>,
    /// `[pictures, embedding]`: in the space shared with texts, as long as it comes
    pub embeds: Tensor<2>,
}

impl EncoderFeatures {
    /// What a tower sees whose embeddings are in the space shared with texts.
    ///
    /// # Shapes
    /// - `pixels`: `[pictures, 3, height, width]`, range [0, 1]
    ///
    /// # Panics
    /// If CLIP's tower has no projection.
    pub fn of(tower: &ImageTower, pixels: Tensor<4>) -> Self {
        let ImageFeatures {
            places,
            pooled,
            embeds,
        } = tower.features(pixels);
        Self {
            places: wide(places),
            pooled: wide(pooled),
            embeds: wide(embeds),
        }
    }
}

/// Image tower, projection and diffusion model.
#[derive(Module, Debug)]
pub struct FeedbackModel {
    /// The encoder that is corrected.
    pub vision_model: ImageTower,
    /// From its features to the denoiser's condition; absent where they go in as they are.
    pub projection: Option<ConditionProjection>,
    /// `[1, condition_dim]`: stands for every condition token that is dropped.
    pub null_condition: Param<Tensor<2>>,
    /// The denoiser.
    pub unet: UNet,
    /// Between pixels and latents.
    pub autoencoder: Autoencoder,
    #[module(skip)]
    schedule: NoiseSchedule,
    #[module(skip)]
    path: NoisePath,
    #[module(skip)]
    tokens: ConditionTokens,
    #[module(skip)]
    compute: FloatDType,
}

impl FeedbackModel {
    /// A model of the given dimensions; allocates nothing.
    ///
    /// # Errors
    /// Everything in the configuration that does not fit together.
    pub fn new(config: &FeedbackConfig, device: &Device) -> Result<Self, FeedbackConfigError> {
        config.validate()?;
        let schedule = NoiseSchedule::new(&config.scheduler)
            .map_err(|error| FeedbackConfigError(vec![format!("scheduler: {error}")]))?;
        let (inputs, outputs) = (config.condition_width(), config.unet.condition_dim());
        let blocks = config.checkpoint_blocks;
        Ok(Self {
            vision_model: ImageTower::new(&config.encoder, device)
                .with_checkpointing(blocks.image_encoder),
            projection: ConditionProjection::new(config.projection, inputs, outputs, device),
            null_condition: param([1, outputs], 0.0, device),
            unet: UNet::new(&config.unet, device).with_checkpointing(blocks.unet),
            autoencoder: Autoencoder::new(&config.autoencoder, device),
            schedule,
            path: config.path,
            tokens: config.condition,
            compute: FloatDType::F32,
        })
    }

    /// Computes activations in the given type; see [`Deem::computing_in`](crate::deem::Deem::computing_in).
    #[must_use]
    pub fn computing_in(mut self, dtype: FloatDType) -> Self {
        self.compute = dtype;
        self
    }

    /// What the encoder sees.
    ///
    /// # Shapes
    /// - `pixels`: `[pictures, 3, height, width]`, range [0, 1]
    pub fn see(&self, pixels: Tensor<4>) -> EncoderFeatures {
        EncoderFeatures::of(&self.vision_model, cast(pixels, self.compute.into()))
    }

    /// Condition tokens of features.
    ///
    /// # Shapes
    /// - `features`: `[pictures, tokens, width]`
    /// - returns `[pictures, tokens, condition_dim]`
    pub fn project(&self, features: Tensor<3>) -> Tensor<3> {
        match &self.projection {
            Some(projection) => wide(projection.forward(cast(features, self.compute.into()))),
            None => features,
        }
    }

    /// Of which features the condition is made.
    pub fn condition(&self) -> ConditionTokens {
        self.tokens
    }

    /// On which path between picture and noise the denoiser works.
    pub fn path(&self) -> NoisePath {
        self.path
    }

    /// The diffusion model.
    pub fn diffusion(&self) -> Diffusion<'_> {
        Diffusion {
            unet: &self.unet,
            autoencoder: &self.autoencoder,
            schedule: &self.schedule,
            synchronizer: None,
            compute: self.compute,
        }
    }
}

//! An image tower of either kind alone, with its projection to the space shared with texts, as what corrects a bare
//! encoder holds it.

use burn::tensor::{Device, Tensor};

use super::config::ConvNextConfig;
use super::dual::{ImageConfig, ImageFeatures};
use super::pyramid::{ConvNextVisual, Projection, clip_normalize, normalize};
use super::vit::ClipVit;

/// How SigLIP's pictures are normalised.
const SIGLIP_MEAN: [f32; 3] = [0.5; 3];
const SIGLIP_STD: [f32; 3] = [0.5; 3];

/// An image tower. Its parameter paths are those of the tower inside, without a name for the kind.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one per model
pub enum ImageTower {
    /// CLIP ConvNeXt.
    ConvNext(ConvNextVisual),
    /// ViT of CLIP or SigLIP.
    Vit(ClipVit),
}

impl ImageTower {
    /// A tower of the given dimensions.
    pub fn new(config: &ImageConfig, device: &Device) -> Self {
        match config {
            ImageConfig::Vit(vision) => {
                Self::Vit(ClipVit::new(vision, device).with_projection(vision, device))
            }
            ImageConfig::ConvNext {
                trunk,
                projection,
                projection_dim,
                ..
            } => Self::ConvNext(convnext(trunk, *projection, *projection_dim, device)),
        }
    }

    /// Compute the tower's layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(self, checkpoint: bool) -> Self {
        match self {
            Self::ConvNext(mut tower) => {
                tower.trunk = tower.trunk.with_checkpointing(checkpoint);
                Self::ConvNext(tower)
            }
            Self::Vit(tower) => Self::Vit(tower.with_checkpointing(checkpoint)),
        }
    }

    /// What the tower sees.
    ///
    /// # Shapes
    /// - `pixels`: `[pictures, 3, height, width]`, range [0, 1]
    pub fn features(&self, pixels: Tensor<4>) -> ImageFeatures {
        match self {
            Self::ConvNext(tower) => convnext_features(tower, clip_normalize(pixels)),
            Self::Vit(tower) if tower.has_class_token() => {
                vit_features(tower, clip_normalize(pixels))
            }
            Self::Vit(tower) => vit_features(tower, normalize(pixels, SIGLIP_MEAN, SIGLIP_STD)),
        }
    }
}

fn convnext(
    trunk: &ConvNextConfig,
    kind: Projection,
    width: usize,
    device: &Device,
) -> ConvNextVisual {
    ConvNextVisual::new(trunk, Some((kind, width)), device)
}

/// Features of a ViT with a projection, of normalised pixels.
///
/// # Panics
/// If CLIP's tower has no projection.
pub(super) fn vit_features(tower: &ClipVit, pixels: Tensor<4>) -> ImageFeatures {
    let output = tower.forward(pixels, &[]);
    let places = output.last_hidden_state;
    let [_, length, _] = places.dims();
    let before = usize::from(tower.has_class_token());
    ImageFeatures {
        places: places.narrow(1, before, length - before),
        pooled: output.pooler_output,
        embeds: output.image_embeds.expect("made with a projection"),
    }
}

/// The same of a ConvNeXt: its patches are the cells of its last stage.
///
/// # Panics
/// If it has no projection.
pub(super) fn convnext_features(tower: &ConvNextVisual, pixels: Tensor<4>) -> ImageFeatures {
    let output = tower.trunk.forward(pixels);
    let [_, _, _, cells] = output.stages;
    let [batch, height, width, channels] = cells.dims();
    let head = tower.head.as_ref().expect("made with a projection");
    ImageFeatures {
        places: cells.reshape([batch, height * width, channels]),
        embeds: head.forward(output.pooled.clone()),
        pooled: output.pooled,
    }
}

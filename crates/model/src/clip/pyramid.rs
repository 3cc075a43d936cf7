//! The image encoder E_V with its multi-scale pyramid (spec: image encoder).
//!
//! Whatever the tower, the result is the same: four levels of one width, finest first, and a
//! sequence of a global token and the grid of `c4`. A ConvNeXt has levels of its own, which
//! only need projecting; a ViT gets them from an adapter.

mod config;
mod convnext;
mod transparent;
mod vit;

pub use config::{Projection, VisionConfig};
pub use convnext::{ConvNextPyramid, ConvNextVisual, ProjectionHead};
pub use vit::VitPyramid;

pub use super::levels::Pyramid;

use burn::tensor::{Device, Tensor, TensorData};

/// Channel means of CLIP's training images.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Channel standard deviations of CLIP's training images.
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// E_V. Its parameter paths are those of the tower inside, without a name for the kind.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one per model
pub enum VisionTower {
    /// CLIP ConvNeXt.
    ConvNext(ConvNextPyramid),
    /// CLIP ViT with an adapter.
    Vit(VitPyramid),
}

impl VisionTower {
    /// A tower of the given kind and dimensions.
    pub fn new(config: &VisionConfig, device: &Device) -> Self {
        match config {
            VisionConfig::ConvNext {
                trunk,
                pyramid_dim,
                projection_dim,
                projection,
            } => Self::ConvNext(ConvNextPyramid::new(
                trunk,
                *pyramid_dim,
                projection_dim.map(|dim| (*projection, dim)),
                device,
            )),
            VisionConfig::Vit {
                trunk,
                adapter,
                pyramid_dim,
                projection,
            } => {
                let mut pyramid = VitPyramid::new(trunk, adapter, *pyramid_dim, device);
                if *projection {
                    pyramid.vision_model = pyramid.vision_model.with_projection(trunk, device);
                }
                Self::Vit(pyramid)
            }
        }
    }

    /// Compute the tower's layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(self, checkpoint: bool) -> Self {
        match self {
            Self::ConvNext(mut tower) => {
                tower.visual.trunk = tower.visual.trunk.with_checkpointing(checkpoint);
                Self::ConvNext(tower)
            }
            Self::Vit(mut tower) => {
                tower.vision_model = tower.vision_model.with_checkpointing(checkpoint);
                Self::Vit(tower)
            }
        }
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, range [0, 1]
    pub fn forward(&self, pixels: Tensor<4>) -> Pyramid {
        let pixels = clip_normalize(pixels);
        match self {
            Self::ConvNext(tower) => tower.forward(pixels),
            Self::Vit(tower) => tower.forward(pixels),
        }
    }

    /// Embeddings in the space shared with text (not normalised to length 1), if the tower has a
    /// projection; without the pyramid.
    ///
    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, range [0, 1]
    /// - returns `[batch, projection_dim]`
    pub fn image_embeds(&self, pixels: Tensor<4>) -> Option<Tensor<2>> {
        let pixels = clip_normalize(pixels);
        match self {
            Self::ConvNext(tower) => {
                let head = tower.visual.head.as_ref()?;
                Some(head.forward(tower.visual.trunk.forward(pixels).pooled))
            }
            Self::Vit(tower) => {
                tower.vision_model.visual_projection.as_ref()?;
                tower.vision_model.forward(pixels, &[]).image_embeds
            }
        }
    }
}

/// Shifts and scales colours as CLIP was trained.
///
/// # Shapes
/// `pixels`: `[batch, 3, height, width]`, range [0, 1]; returned in the same shape, in a fresh
/// tensor.
pub fn clip_normalize(pixels: Tensor<4>) -> Tensor<4> {
    normalize(pixels, CLIP_MEAN, CLIP_STD)
}

/// Shifts colours by a mean and divides them by a standard deviation.
///
/// # Shapes
/// `pixels`: `[batch, 3, height, width]`, range [0, 1]; returned in the same shape, in a fresh
/// tensor.
pub fn normalize(pixels: Tensor<4>, mean: [f32; 3], std: [f32; 3]) -> Tensor<4> {
    let (device, dtype) = (pixels.device(), pixels.dtype());
    let channels = |values: [f32; 3]| {
        let data = TensorData::new(values.to_vec(), [1, 3, 1, 1]);
        Tensor::<4>::from_data(data, &device).cast(dtype)
    };
    (pixels - channels(mean)) / channels(std)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::config::ConvNextConfig;
    use burn::module::Module;

    /// E_V of the paper's build with its adapters and carried-along head (spec: parameter counts).
    #[test]
    fn full_size_parameter_count() {
        let config = VisionConfig::ConvNext {
            trunk: ConvNextConfig::default(),
            pyramid_dim: 1024,
            projection_dim: Some(640),
            projection: Projection::Mlp,
        };
        let tower = VisionTower::new(&config, &Device::flex());
        let count = tower.num_params() as f64 / 1e6;
        assert!((count - 92.72).abs() < 0.005, "{count}");
    }

    #[test]
    fn towers_are_chosen_by_name() {
        let json = r#"{"tower": "vit", "trunk": {"patch_size": 16}, "pyramid_dim": 1024}"#;
        let config: VisionConfig = serde_json::from_str(json).unwrap();
        assert!(matches!(config, VisionConfig::Vit { ref trunk, .. } if trunk.patch_size == 16));
        assert_eq!(config.pyramid_dim(), 1024);
        assert_eq!(config.validate(), Ok(()));
        let unknown = serde_json::from_str::<VisionConfig>(r#"{"tower": "resnet"}"#);
        assert!(unknown.is_err());
    }

    #[test]
    fn normalisation_by_hand() {
        let pixels = Tensor::<4>::full([1, 3, 1, 1], 0.5, &Device::flex());
        let out: Vec<f32> = clip_normalize(pixels).into_data().iter::<f32>().collect();
        let expected = [0.069_036_1, 0.161_392_6, 0.332_838_1];
        for (a, b) in out.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{out:?}");
        }
    }
}

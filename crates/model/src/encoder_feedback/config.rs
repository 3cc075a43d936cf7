use serde::{Deserialize, Serialize};

use crate::autoencoder::AutoencoderConfig;
use crate::checkpointing::CheckpointBlocks;
use crate::clip::dual::ImageConfig;
use crate::scheduler::NoiseConfig;
use crate::unet::UNetConfig;

/// Of which of an encoder's features the denoiser's condition is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionTokens {
    /// The class token, normalised: one token.
    Class,
    /// Those of patches.
    Local,
    /// The class token, then those of patches.
    Both,
    /// The embedding in the space shared with texts: one token.
    Embedding,
}

/// How features become as wide as the condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// They are as wide already and go in as they are.
    None,
    /// One layer.
    Linear,
    /// Norm, layer, GELU, layer.
    #[default]
    Mlp,
}

/// The path between picture and noise that a denoiser works on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoisePath {
    /// That of its noise schedule; it predicts what the schedule says.
    #[default]
    Diffusion,
    /// The straight line; it predicts the velocity (rectified flow, Liu et al. 2023).
    Flow,
}

/// Dimensions of a [`FeedbackModel`](super::FeedbackModel).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackConfig {
    /// Side in pixels of the pictures that are restored.
    pub diffusion_size: usize,
    /// What the condition is made of.
    pub condition: ConditionTokens,
    /// How it gets its width.
    #[serde(default)]
    pub projection: ProjectionKind,
    /// On which path the denoiser works.
    #[serde(default)]
    pub path: NoisePath,
    /// Whether the denoiser is drawn from the seed instead of loaded, to be trained from scratch (GenHancer).
    #[serde(default)]
    pub fresh_denoiser: bool,
    /// Which networks compute blocks again in the backward pass.
    #[serde(default)]
    pub checkpoint_blocks: CheckpointBlocks,
    /// Image tower: a ViT by its fields in `config.json`, or a ConvNeXt by `trunk`, `projection`, `projection_dim` and
    /// `image_size`.
    pub encoder: ImageConfig,
    /// Denoiser.
    pub unet: UNetConfig,
    /// First stage of the diffusion model.
    pub autoencoder: AutoencoderConfig,
    /// Its noise schedule.
    #[serde(default = "NoiseConfig::stable_diffusion")]
    pub scheduler: NoiseConfig,
}

/// Everything in a configuration that does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model: {}", .0.join("; "))]
pub struct FeedbackConfigError(pub Vec<String>);

impl FeedbackConfig {
    /// Width of the features that the condition is made of.
    pub fn condition_width(&self) -> usize {
        match self.condition {
            ConditionTokens::Embedding => self.encoder.embedding(),
            _ => self.encoder.width(),
        }
    }

    /// Patches of a picture.
    pub fn places(&self) -> usize {
        self.encoder.places()
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// Every problem, each naming its field.
    pub fn validate(&self) -> Result<(), FeedbackConfigError> {
        let mut problems = Vec::new();
        problems.extend(
            self.encoder
                .validate()
                .err()
                .map(|e| format!("encoder: {e}")),
        );
        problems.extend(self.unet.validate().err().map(|e| format!("unet: {e}")));
        problems.extend(
            self.autoencoder
                .validate()
                .err()
                .map(|e| format!("autoencoder: {e}")),
        );
        if !problems.is_empty() {
            return Err(FeedbackConfigError(problems));
        }
        let (width, needed) = (self.condition_width(), self.unet.condition_dim());
        if self.projection == ProjectionKind::None && width != needed {
            problems.push(format!(
                "projection: \"none\" needs an encoder as wide as the denoiser's condition ({needed}), found {width}; use \
                 \"linear\" or \"mlp\""
            ));
        }
        let (latent, denoised) = (self.autoencoder.latent_channels, self.unet.in_channels);
        if latent != denoised || denoised != self.unet.out_channels {
            problems.push(format!(
                "unet: expected in_channels and out_channels = autoencoder.latent_channels = {latent}, found {denoised} and {}",
                self.unet.out_channels
            ));
        }
        let multiple = self.autoencoder.reduction() << (self.unet.block_out_channels.len() - 1);
        if self.diffusion_size == 0 || !self.diffusion_size.is_multiple_of(multiple) {
            problems.push(format!(
                "diffusion_size: expected a multiple of {multiple} (what autoencoder and unet halve), found {}",
                self.diffusion_size
            ));
        }
        if self.path == NoisePath::Flow && !self.fresh_denoiser {
            problems.push(
                "path: \"flow\" needs a denoiser that was trained on it; with fresh_denoiser = true one is trained here"
                    .into(),
            );
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(FeedbackConfigError(problems)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::config::{ClipVisionConfig, ConvNextConfig};
    use crate::clip::pyramid::Projection;

    fn vit() -> ClipVisionConfig {
        ClipVisionConfig {
            hidden_size: 1024,
            num_attention_heads: 16,
            projection_dim: 768,
            patch_size: 14,
            ..ClipVisionConfig::default()
        }
    }

    fn config() -> FeedbackConfig {
        FeedbackConfig {
            diffusion_size: 512,
            condition: ConditionTokens::Class,
            projection: ProjectionKind::None,
            path: NoisePath::Diffusion,
            fresh_denoiser: false,
            checkpoint_blocks: CheckpointBlocks::default(),
            encoder: ImageConfig::Vit(vit()),
            unet: UNetConfig::stable_diffusion_2(),
            autoencoder: AutoencoderConfig::stable_diffusion(),
            scheduler: NoiseConfig::stable_diffusion(),
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let good = config();
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(good.places(), 256);
        let told = |change: &dyn Fn(&mut FeedbackConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let error = told(&|c| c.condition = ConditionTokens::Embedding);
        assert!(
            error.contains("(1024), found 768") && error.contains("linear"),
            "{error}"
        );
        assert!(told(&|c| c.diffusion_size = 500).contains("multiple of 64"));
        assert!(told(&|c| c.path = NoisePath::Flow).contains("fresh_denoiser"));
        assert!(told(&|c| c.unet.in_channels = 9).contains("latent_channels = 4"));
        let uneven = |c: &mut FeedbackConfig| {
            c.encoder = ImageConfig::Vit(ClipVisionConfig {
                hidden_size: 7,
                ..vit()
            });
        };
        assert!(told(&uneven).contains("encoder:"));
    }

    #[test]
    fn a_convnext_is_known_by_its_trunk() {
        let convnext = ImageConfig::ConvNext {
            trunk: ConvNextConfig::default(),
            projection: Projection::Linear,
            projection_dim: 640,
            image_size: 256,
        };
        for encoder in [convnext, ImageConfig::Vit(vit())] {
            let json = serde_json::to_string(&encoder).unwrap();
            assert_eq!(serde_json::from_str::<ImageConfig>(&json).unwrap(), encoder);
        }
        let json = r#"{"trunk": {"dims": [8, 8, 8, 24]}, "projection_dim": 12, "image_size": 96}"#;
        let read: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!((read.width(), read.embedding(), read.side()), (24, 12, 96));
        assert_eq!(read.places(), 9); // stride 32
        let wrong = json.replace("image_size", "images");
        let error = serde_json::from_str::<ImageConfig>(&wrong).unwrap_err();
        assert!(error.to_string().contains("images"), "{error}");
    }
}

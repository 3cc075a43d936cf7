use serde::{Deserialize, Serialize};

use crate::checks::{Number, numbers};
use crate::unet::Activation;

/// What can be wrong with an autoencoder configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutoencoderError {
    /// Everything that does not fit together.
    #[error("autoencoder configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

/// Block of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncoderBlockType {
    /// Residual blocks and a strided convolution.
    DownEncoderBlock2D,
}

/// Block of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecoderBlockType {
    /// Residual blocks and an enlargement.
    UpDecoderBlock2D,
}

/// `config.json` of diffusers' `AutoencoderKL`; other fields of the file are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoencoderConfig {
    /// Channels of the image.
    pub in_channels: usize,
    /// Channels of the painted image.
    pub out_channels: usize,
    /// Blocks of the encoder.
    pub down_block_types: Vec<EncoderBlockType>,
    /// Blocks of the decoder.
    pub up_block_types: Vec<DecoderBlockType>,
    /// Channels of each resolution, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution of the encoder; one more in the decoder.
    pub layers_per_block: usize,
    /// Nonlinearity of residual blocks.
    pub act_fn: Activation,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Groups of all norms.
    pub norm_num_groups: usize,
    /// Latents are multiplied by this for the diffusion model.
    pub scaling_factor: f64,
    /// Subtracted from latents before that.
    pub shift_factor: Option<f64>,
    /// 1×1 convolution after the encoder.
    pub use_quant_conv: bool,
    /// 1×1 convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// Self-attention of pixels in the middle.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![EncoderBlockType::DownEncoderBlock2D],
            up_block_types: vec![DecoderBlockType::UpDecoderBlock2D],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderConfig {
    /// The autoencoder of Stable Diffusion 1 and 2.
    pub fn stable_diffusion() -> Self {
        Self {
            down_block_types: vec![EncoderBlockType::DownEncoderBlock2D; 4],
            up_block_types: vec![DecoderBlockType::UpDecoderBlock2D; 4],
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            ..Self::default()
        }
    }

    /// How many times smaller the latent is than the image.
    pub fn reduction(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), AutoencoderError> {
        let mut problems = Vec::new();
        let blocks = self.block_out_channels.len();
        if blocks == 0 {
            problems.push("`block_out_channels` is empty".into());
        }
        for (field, found) in [
            ("down_block_types", self.down_block_types.len()),
            ("up_block_types", self.up_block_types.len()),
        ] {
            if found != blocks {
                problems.push(format!(
                    "`{field}` has {found} entries, `block_out_channels` has {blocks}"
                ));
            }
        }
        problems.extend(numbers(&[
            ("scaling_factor", self.scaling_factor, Number::NotZero),
            (
                "shift_factor",
                self.shift_factor.unwrap_or(0.0),
                Number::Any,
            ),
        ]));
        let groups = self.norm_num_groups;
        for channels in &self.block_out_channels {
            if groups == 0 || channels % groups != 0 {
                problems.push(format!(
                    "`block_out_channels` {channels} is not a multiple of `norm_num_groups` {groups}"
                ));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(AutoencoderError::Config(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_diffusion_file() {
        let config: AutoencoderConfig = serde_json::from_str(
            r#"{"_class_name": "AutoencoderKL", "_diffusers_version": "0.10.0.dev0",
                "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
                "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D",
                "DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3,
                "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
                "out_channels": 3, "sample_size": 768, "up_block_types": ["UpDecoderBlock2D",
                "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#,
        )
        .unwrap();
        assert_eq!(config, AutoencoderConfig::stable_diffusion());
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.reduction(), 8);
    }

    #[test]
    fn every_problem_is_listed() {
        let config = AutoencoderConfig {
            block_out_channels: vec![64, 30],
            ..AutoencoderConfig::default()
        };
        let AutoencoderError::Config(problems) = config.validate().unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for factor in [0.0, f64::NAN, f64::INFINITY] {
            let config = AutoencoderConfig {
                scaling_factor: factor,
                ..AutoencoderConfig::default()
            };
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("scaling_factor"), "{error}");
        }
    }
}

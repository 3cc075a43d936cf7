//! Configurations of the public CLIP checkpoints (transformers `CLIPVisionConfig`,
//! `CLIPTextConfig`; timm `ConvNeXt`).
//!
//! Field names and defaults are the public ones, so that a `config.json` deserialises directly;
//! fields that do not concern the network are ignored.

use serde::{Deserialize, Deserializer, Serialize};

use crate::activation::Activation;
use crate::checks::{Number, numbers, uneven, zeros};

/// What can be wrong with the configuration of an image or text tower.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// Everything that does not fit together.
    #[error("CLIP configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

impl ClipError {
    pub(crate) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self::Config(problems))
        }
    }
}

/// Which of two architectures that differ in a few places a tower has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// CLIP (Radford et al. 2021) and MetaCLIP: pictures are read at a class token, texts causally and at their end.
    #[default]
    Clip,
    /// SigLIP (Zhai et al. 2023) and SigLIP 2 of fixed resolution: no class token, no norm before the layers, patches
    /// with a bias, pictures pooled by attention; texts read both ways, filled up, and at their last token.
    Siglip,
}

/// A problem if a width is not a multiple of the number of heads, which names both fields.
fn uneven_heads(hidden_size: usize, heads: usize) -> Option<String> {
    let problem = uneven("hidden_size", hidden_size, heads)?;
    Some(format!("{problem} (num_attention_heads)"))
}

/// The ViT image tower of CLIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Width of the space shared with the text tower.
    pub projection_dim: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Side in pixels for which the position table is made.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Non-linearity of the MLP.
    pub hidden_act: Activation,
    /// Constant of the norms.
    pub layer_norm_eps: f64,
    /// The architecture; a published file names it by its class ([`SiglipVisionConfig`]).
    #[serde(skip_serializing_if = "Family::is_clip")]
    pub family: Family,
}

impl Default for ClipVisionConfig {
    /// The defaults of transformers (ViT-B/32).
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            family: Family::Clip,
        }
    }
}

/// The configuration of transformers' `SiglipVisionModel`, with that class's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct SiglipVisionConfig(pub ClipVisionConfig);

impl Family {
    fn is_clip(&self) -> bool {
        *self == Self::Clip
    }
}

impl ClipVisionConfig {
    /// Width of the space shared with texts: SigLIP's is the tower's own.
    pub fn embedding(&self) -> usize {
        match self.family {
            Family::Clip => self.projection_dim,
            Family::Siglip => self.hidden_size,
        }
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        let mut problems = zeros(&[
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_channels", self.num_channels),
            ("patch_size", self.patch_size),
        ]);
        problems.extend(uneven_heads(self.hidden_size, self.num_attention_heads));
        problems.extend(numbers(&[(
            "layer_norm_eps",
            self.layer_norm_eps,
            Number::FromZero,
        )]));
        if self.image_size < self.patch_size {
            let Self {
                image_size,
                patch_size,
                ..
            } = self;
            problems.push(format!(
                "image_size {image_size} is smaller than patch_size {patch_size}"
            ));
        }
        ClipError::unless_empty(problems)
    }
}

/// The text tower of CLIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Width of the space shared with the image tower; `None`: `hidden_size`.
    pub projection_dim: Option<usize>,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Non-linearity of the MLP.
    pub hidden_act: Activation,
    /// Constant of the norms.
    pub layer_norm_eps: f64,
    /// End of text; 2 stands for the old convention "the highest id of the sequence".
    pub eos_token_id: i64,
    /// How texts are read.
    #[serde(skip)]
    pub reading: TextReading,
}

/// How a text tower reads, where towers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextReading {
    /// Whether a token sees only those before it.
    pub causal: bool,
    /// Where the text is summed up.
    pub pooling: TextPooling,
    /// Whether the projection to the shared space has a bias.
    pub projection_bias: bool,
}

/// The token at which a text is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPooling {
    /// Its end: the first `eos_token_id`, of which 2 stands for [`Self::Highest`].
    End,
    /// The first `eos_token_id`, whatever that is.
    Token,
    /// The first of the highest ids.
    Highest,
    /// The last one, even if it only fills up the text.
    Last,
}

impl TextReading {
    /// CLIP's.
    pub const CLIP: Self = Self {
        causal: true,
        pooling: TextPooling::End,
        projection_bias: false,
    };
    /// SigLIP's.
    pub const SIGLIP: Self = Self {
        causal: false,
        pooling: TextPooling::Last,
        projection_bias: true,
    };
}

impl Default for TextReading {
    fn default() -> Self {
        Self::CLIP
    }
}

/// The configuration of transformers' `SiglipTextModel`, with that class's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct SiglipTextConfig(pub ClipTextConfig);

impl Default for ClipTextConfig {
    /// The defaults of transformers.
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: Some(512),
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
            reading: TextReading::CLIP,
        }
    }
}

impl ClipTextConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        let mut problems = zeros(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ]);
        problems.extend(numbers(&[(
            "layer_norm_eps",
            self.layer_norm_eps,
            Number::FromZero,
        )]));
        problems.extend(uneven_heads(self.hidden_size, self.num_attention_heads));
        ClipError::unless_empty(problems)
    }
}

/// The ConvNeXt image tower of CLIP (timm `ConvNeXt` with four stages and patch stem).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConvNextConfig {
    /// Blocks per stage.
    pub depths: [usize; 4],
    /// Channels per stage.
    pub dims: [usize; 4],
    /// Side and stride of the stem's patches in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub in_chans: usize,
    /// Side of the depthwise kernels, odd.
    #[serde(alias = "kernel_sizes")]
    pub kernel_size: usize,
    /// Initial layer scale; `None` for blocks without one.
    pub ls_init_value: Option<f64>,
    /// Constant of the norms; in files also `null`, for the default.
    #[serde(deserialize_with = "norm_eps")]
    pub norm_eps: f64,
}

fn norm_eps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let given = Option::deserialize(deserializer)?;
    Ok(given.unwrap_or(ConvNextConfig::default().norm_eps))
}

impl Default for ConvNextConfig {
    /// ConvNeXt-B.
    fn default() -> Self {
        Self {
            depths: [3, 3, 27, 3],
            dims: [128, 256, 512, 1024],
            patch_size: 4,
            in_chans: 3,
            kernel_size: 7,
            ls_init_value: Some(1e-6),
            norm_eps: 1e-6,
        }
    }
}

impl ConvNextConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        let mut problems = zeros(&[
            ("dims", self.dims.into_iter().min().unwrap_or(0)),
            ("patch_size", self.patch_size),
            ("in_chans", self.in_chans),
        ]);
        problems.extend(numbers(&[
            ("norm_eps", self.norm_eps, Number::FromZero),
            (
                "ls_init_value",
                self.ls_init_value.unwrap_or(0.0),
                Number::Any,
            ),
        ]));
        if self.kernel_size.is_multiple_of(2) {
            problems.push(format!("kernel_size {} is not odd", self.kernel_size));
        }
        ClipError::unless_empty(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_configs_deserialise() {
        let json = r#"{"model_type": "clip_vision_model", "hidden_size": 1024, "patch_size": 14,
            "hidden_act": "gelu_new", "transformers_version": "5.23.0"}"#;
        let config: ClipVisionConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.hidden_size, 1024);
        assert_eq!(config.hidden_act, Activation::GeluPytorchTanh);
        assert_eq!(config.num_hidden_layers, 12);
        let unknown = serde_json::from_str::<ClipVisionConfig>(r#"{"hidden_act": "maxout"}"#);
        assert!(unknown.unwrap_err().to_string().contains("maxout"));
    }
    #[test]
    fn all_problems_are_named_at_once() {
        let config = ClipVisionConfig {
            num_attention_heads: 5,
            num_channels: 0,
            image_size: 8,
            ..ClipVisionConfig::default()
        };
        let text = config.validate().unwrap_err().to_string();
        for field in ["hidden_size 768", "num_channels", "image_size 8"] {
            assert!(text.contains(field), "{text}");
        }
        assert_eq!(ClipTextConfig::default().validate(), Ok(()));
        for eps in [f64::NAN, -1.0] {
            let vision = ClipVisionConfig {
                layer_norm_eps: eps,
                ..ClipVisionConfig::default()
            };
            let text = ClipTextConfig {
                layer_norm_eps: eps,
                ..ClipTextConfig::default()
            };
            let convolutions = ConvNextConfig {
                norm_eps: eps,
                ..ConvNextConfig::default()
            };
            for found in [vision.validate(), text.validate(), convolutions.validate()] {
                assert!(found.unwrap_err().to_string().contains("norm_eps is"));
            }
        }
        assert_eq!(ConvNextConfig::default().validate(), Ok(()));
    }
}

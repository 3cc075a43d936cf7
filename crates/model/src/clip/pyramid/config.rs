use serde::{Deserialize, Serialize};

use crate::checks::{Number, numbers, uneven, zeros};
use crate::clip::adapter::VitAdapterConfig;
use crate::clip::config::{ClipError, ClipVisionConfig, ConvNextConfig};

/// How a ConvNeXt's pooled features reach the space shared with text (open_clip `timm_proj`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// Through a hidden layer, as in `convnext_base_w`.
    #[default]
    Mlp,
    /// Linearly, as in `convnext_base`: features are then as separable as embeddings.
    Linear,
}

/// Which tower, and the width of its pyramid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tower", rename_all = "snake_case")]
pub enum VisionConfig {
    /// CLIP ConvNeXt.
    ConvNext {
        /// The tower.
        trunk: ConvNextConfig,
        /// Width of all levels.
        pyramid_dim: usize,
        /// Width of the space shared with text; `None` without a projection head.
        projection_dim: Option<usize>,
        /// Kind of the projection head.
        #[serde(default)]
        projection: Projection,
    },
    /// CLIP ViT with an adapter.
    Vit {
        /// The tower.
        trunk: ClipVisionConfig,
        /// The adapter.
        #[serde(default)]
        adapter: VitAdapterConfig,
        /// Width of all levels.
        pyramid_dim: usize,
        /// Whether the tower has a projection to the space shared with text.
        #[serde(default)]
        projection: bool,
    },
}

impl VisionConfig {
    /// Width of all levels and of the sequence.
    pub fn pyramid_dim(&self) -> usize {
        match self {
            Self::ConvNext { pyramid_dim, .. } | Self::Vit { pyramid_dim, .. } => *pyramid_dim,
        }
    }

    /// Side in pixels below which the tower has no grid.
    pub fn smallest_side(&self) -> usize {
        match self {
            Self::ConvNext { trunk, .. } => trunk.reduction(),
            Self::Vit { trunk, .. } => trunk.patch_size,
        }
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        let (trunk, mut problems) = match self {
            Self::ConvNext { trunk, .. } => (trunk.validate(), Vec::new()),
            Self::Vit { trunk, adapter, .. } => {
                let heads = trunk.num_attention_heads;
                let width = adapter.value_width(trunk.hidden_size);
                let mut problems = numbers(&[
                    ("deform_ratio", adapter.deform_ratio, Number::Positive),
                    ("cffn_ratio", adapter.cffn_ratio, Number::Positive),
                ]);
                problems.extend(zeros(&[("hidden_size * deform_ratio", width)]));
                problems.extend(uneven("hidden_size * deform_ratio", width, heads));
                (trunk.validate(), problems)
            }
        };
        let width = self.pyramid_dim();
        if width == 0 || !width.is_multiple_of(4) {
            problems.push(format!(
                "pyramid_dim {width} is not a positive multiple of 4"
            ));
        }
        if let Err(ClipError::Config(others)) = trunk {
            problems.extend(others);
        }
        ClipError::unless_empty(problems)
    }
}

//! A published encoder of pictures and texts as a whole: two towers that meet in one space, and the constants by which
//! their cosines become logits (transformers `CLIPModel`, `SiglipModel`; open_clip `CLIP`, `CustomTextCLIP`).
//!
//! Whatever layout a checkpoint has, parameters have one path here, transformers' where it has one; [`DualLayout`] says
//! where each lies in the file.

mod keys;
mod open_clip;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::config::{ClipError, ClipTextConfig, ClipVisionConfig, ConvNextConfig, Family};
use super::pyramid::{ConvNextVisual, Projection};

use super::text::ClipText;
use super::tower::{convnext_features, vit_features};
use super::vit::ClipVit;
use crate::nn::param;
use crate::published::{Fields, Published};
pub use keys::{DualLayout, OpenClipImage, OpenClipKeys};
pub use open_clip::open_clip;

/// The image tower of a [`DualTowers`], or one alone. Written and read as the fields of its kind; a ConvNeXt is known by
/// its `trunk`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ImageConfig {
    /// A ViT of CLIP or SigLIP.
    Vit(ClipVisionConfig),
    /// A ConvNeXt with a projection.
    ConvNext {
        /// The tower.
        trunk: ConvNextConfig,
        /// Kind of the projection.
        projection: Projection,
        /// Width of the space shared with text.
        projection_dim: usize,
        /// Side in pixels for which it was trained.
        image_size: usize,
    },
}

/// The fields of a ConvNeXt.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvNextFields {
    trunk: ConvNextConfig,
    #[serde(default)]
    projection: Projection,
    projection_dim: usize,
    image_size: usize,
}

impl<'de> Deserialize<'de> for ImageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::<String, Value>::deserialize(deserializer)?;
        let is_convnext = fields.contains_key("trunk");
        let fields = Value::Object(fields);
        if !is_convnext {
            let vit = serde_json::from_value(fields).map_err(D::Error::custom)?;
            return Ok(Self::Vit(vit));
        }
        let ConvNextFields {
            trunk,
            projection,
            projection_dim,
            image_size,
        } = serde_json::from_value(fields).map_err(D::Error::custom)?;
        Ok(Self::ConvNext {
            trunk,
            projection,
            projection_dim,
            image_size,
        })
    }
}

impl ImageConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        match self {
            Self::Vit(config) => config.validate(),
            Self::ConvNext { trunk, .. } => trunk.validate(),
        }
    }

    /// Width of the space shared with texts.
    pub fn embedding(&self) -> usize {
        match self {
            Self::Vit(config) => config.embedding(),
            Self::ConvNext { projection_dim, .. } => *projection_dim,
        }
    }

    /// Patches of a picture, or cells of the last stage.
    pub fn places(&self) -> usize {
        let cell = match self {
            Self::Vit(config) => config.patch_size,
            Self::ConvNext { trunk, .. } => trunk.reduction(),
        };
        (self.side() / cell.max(1)).pow(2)
    }

    /// Side in pixels for which the tower was trained.
    pub fn side(&self) -> usize {
        match self {
            Self::Vit(config) => config.image_size,
            Self::ConvNext { image_size, .. } => *image_size,
        }
    }

    /// Width of the tower's features before the projection.
    pub fn width(&self) -> usize {
        match self {
            Self::Vit(config) => config.hidden_size,
            Self::ConvNext { trunk, .. } => trunk.dims[3],
        }
    }
}

/// Dimensions of a [`DualTowers`].
#[derive(Clone, Debug, PartialEq)]
pub struct DualConfig {
    /// The image tower.
    pub image: ImageConfig,
    /// The text tower.
    pub text: ClipTextConfig,
    /// Whether logits have a bias (sigmoid loss).
    pub bias: bool,
}

impl DualConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), ClipError> {
        let image = self.image.validate();
        let mut problems = Vec::new();
        for ClipError::Config(found) in [image, self.text.validate()]
            .into_iter()
            .filter_map(Result::err)
        {
            problems.extend(found);
        }
        let texts = self.text.projection_dim.unwrap_or(self.text.hidden_size);
        if self.embedding() != texts {
            problems.push(format!(
                "pictures are embedded in {} dimensions, texts in {texts}",
                self.embedding()
            ));
        }
        ClipError::unless_empty(problems)
    }

    /// Width of the shared space.
    pub fn embedding(&self) -> usize {
        self.image.embedding()
    }

    /// The configuration in a `config.json` of transformers' `CLIPModel` (MetaCLIP's, too) or `SiglipModel`, and where its
    /// parameters lie.
    ///
    /// # Errors
    /// Everything in it that cannot be computed, each naming its field.
    pub fn transformers(fields: Fields) -> Result<(Self, DualLayout), Vec<String>> {
        for tower in ["vision_config", "text_config"] {
            let older = format!("{tower}_dict");
            if !fields.contains_key(tower) && !fields.contains_key(&older) {
                return Err(vec![format!(
                    "{tower}: expected the tower's configuration, found none; this is no encoder of pictures and texts, give \
                     a CLIPModel or SiglipModel"
                )]);
            }
        }
        let width = fields
            .get("projection_dim")
            .and_then(serde_json::Value::as_u64);
        let kind = fields.get("model_type").and_then(serde_json::Value::as_str);
        let family = match kind {
            Some(kind) if kind.starts_with("siglip") => Family::Siglip,
            _ => Family::Clip,
        };
        let (image, text) = match family {
            Family::Clip => (
                ClipVisionConfig::published(fields.clone()),
                ClipTextConfig::published(fields),
            ),
            Family::Siglip => (
                super::config::SiglipVisionConfig::published(fields.clone()).map(|config| config.0),
                super::config::SiglipTextConfig::published(fields).map(|config| config.0),
            ),
        };
        let (mut image, mut text) = match (image, text) {
            (Ok(image), Ok(text)) => (image, text),
            (image, text) => {
                let mut problems = image.err().unwrap_or_default();
                problems.extend(text.err().unwrap_or_default());
                problems.dedup();
                return Err(problems);
            }
        };
        if let (Family::Clip, Some(width)) = (family, width) {
            image.projection_dim = width as usize;
            text.projection_dim = Some(width as usize);
        }
        let config = Self {
            image: ImageConfig::Vit(image),
            text,
            bias: family == Family::Siglip,
        };
        Ok((config, DualLayout::Transformers(family)))
    }
}

/// Features of some pictures.
#[derive(Clone, Debug)]
pub struct ImageFeatures {
    /// `[batch, places, width]`: of each patch or cell, row by row.
    pub places: Tensor<3>,
    /// `[batch, width]`: of the whole, before the projection.
    pub pooled: Tensor<2>,
    /// `[batch, embedding]`: in the space shared with texts, as long as it comes.
    pub embeds: Tensor<2>,
}

/// Two towers that meet in one space. Exactly one of `vision_model` and `visual` is there.
#[derive(Module, Debug)]
pub struct DualTowers {
    /// The image tower, if it is a ViT.
    pub vision_model: Option<ClipVit>,
    /// The image tower, if it is a ConvNeXt.
    pub visual: Option<ConvNextVisual>,
    /// The text tower.
    pub text_model: ClipText,
    /// `[1]`: logarithm of what cosines are multiplied by.
    pub logit_scale: Param<Tensor<1>>,
    /// `[1]`: what is then added to them.
    pub logit_bias: Option<Param<Tensor<1>>>,
}

impl DualTowers {
    /// Towers of the given dimensions.
    pub fn new(config: &DualConfig, device: &Device) -> Self {
        let (vision_model, visual) = match &config.image {
            ImageConfig::Vit(vision) => {
                let tower = ClipVit::new(vision, device).with_projection(vision, device);
                (Some(tower), None)
            }
            ImageConfig::ConvNext {
                trunk,
                projection,
                projection_dim,
                ..
            } => {
                let head = Some((*projection, *projection_dim));
                (None, Some(ConvNextVisual::new(trunk, head, device)))
            }
        };
        Self {
            vision_model,
            visual,
            text_model: ClipText::new(&config.text, device).with_projection(&config.text, device),
            logit_scale: param([1], libm::logf(1.0 / 0.07), device),
            logit_bias: config.bias.then(|| param([1], 0.0, device)),
        }
    }

    /// Compute the image tower's layers again in the backward pass instead of keeping their activations.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpoint: bool) -> Self {
        self.vision_model = self
            .vision_model
            .map(|tower| tower.with_checkpointing(checkpoint));
        self.visual = self.visual.map(|mut tower| {
            tower.trunk = tower.trunk.with_checkpointing(checkpoint);
            tower
        });
        self
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised as the encoder was trained
    ///
    /// # Panics
    /// If there is no image tower, or none with a projection, which [`Self::new`] never makes.
    pub fn images(&self, pixels: Tensor<4>) -> ImageFeatures {
        if let Some(tower) = &self.vision_model {
            return vit_features(tower, pixels);
        }
        let tower = self.visual.as_ref().expect("one of two image towers");
        convnext_features(tower, pixels)
    }

    /// Embeddings of texts in the shared space, as long as they come.
    ///
    /// # Shapes
    /// - `ids`: `[texts, seq]`
    /// - returns `[texts, embedding]`
    ///
    /// # Panics
    /// If the text tower has no projection, which [`Self::new`] never makes.
    pub fn texts(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let output = self.text_model.forward(ids, None);
        output.text_embeds.expect("made with a projection")
    }
}

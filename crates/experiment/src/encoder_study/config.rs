//! Arms of the study as a file says them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use deem_engine::EngineError;
use deem_engine::config;
use deem_engine::encoder_feedback::{FeedbackStage, check_stages, is_folder_name};
use deem_engine::objective::Objective;
use deem_model::clip::dual::ImageConfig;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::encoder_feedback::{ConditionTokens, FeedbackConfig, NoisePath, ProjectionKind};
use deem_model::unet::UNetConfig;
use serde::{Deserialize, Serialize};

use crate::standins::StandIns;

/// Name of the encoder as it was.
pub const UNTOUCHED: &str = "none";

/// What a term of retention says of its texts: they are the built-in world's, not a file's.
const OWN_TEXTS: &str = "categories of the built-in world";

/// The content of `encoder-study.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderStudyConfig {
    /// The encoder that is corrected.
    #[serde(default)]
    pub encoder: EncoderPart,
    /// How much is asked.
    pub sizes: Sizes,
    /// Photographs in place of the built-in world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photographs: Option<Photographs>,
    /// What is compared with the untouched encoder.
    pub arms: Vec<EncoderArm>,
}

/// Which of the stand-ins is corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderPart {
    /// The encoder under test; its text tower has read captions of the pre-training only.
    #[default]
    Clip,
    /// The same, trained on with captions of which some say everything.
    ClipAttributes,
}

impl EncoderPart {
    /// The part of the stand-ins.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::ClipAttributes => "clip-attributes",
        }
    }
}

/// How much is asked of each encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Pairs of pictures, divided among seven attributes.
    pub pairs: usize,
    /// Pictures to be classified.
    pub zero_shot: usize,
    /// Pictures and captions to be found among each other.
    pub retrieval: usize,
    /// Training scenes that the linear probes are fitted on.
    pub probe: usize,
}

/// Two folders of pictures, each with a folder for each class. Paths are seen from where the program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Photographs {
    /// What feedback learns from; probes and class means, too.
    pub train: PathBuf,
    /// What is asked about.
    pub test: PathBuf,
}

/// A way of correcting the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderArm {
    /// Its name, also of its folder.
    pub name: String,
    /// What the condition is made of.
    pub condition: ConditionTokens,
    /// How it gets its width.
    #[serde(default)]
    pub projection: ProjectionKind,
    /// On which path the denoiser works.
    #[serde(default)]
    pub path: NoisePath,
    /// Whether the denoiser is trained from scratch.
    #[serde(default)]
    pub fresh_denoiser: bool,
    /// A denoiser that is trained from scratch, where it is another than the stand-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unet: Option<UNetConfig>,
    /// With it the last stage is trained twice: without retention, and with it as `NAME+retention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Its stages, each from where the one before it ended.
    pub stages: Vec<FeedbackStage>,
}

/// How the encoder is held to what it said before; see [`Objective::Retention`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Factor.
    pub weight: f64,
    /// Factor on similarities of pictures and category sentences.
    #[serde(default)]
    pub image_text: f64,
    /// Factor on similarities of pictures among each other.
    #[serde(default)]
    pub image_image: f64,
}

impl EncoderStudyConfig {
    /// Name of the file beside the stand-ins.
    pub const FILE: &str = "encoder-study.toml";
    /// Its fields, of which overrides concern this file.
    pub const FIELDS: [&str; 4] = ["encoder", "sizes", "photographs", "arms"];

    /// Reads a file, see [`config::read`], for these stand-ins.
    ///
    /// # Errors
    /// As there, and everything that does not fit together, naming its field.
    pub fn read(
        path: &Path,
        overrides: &[String],
        standins: &StandIns,
    ) -> Result<Self, EngineError> {
        let study: Self = config::read(path, overrides)?;
        let wrong = |problem: String| EngineError::Config(format!("{}: {problem}", path.display()));
        study.check(standins).map_err(wrong)?;
        Ok(study)
    }

    /// Keeps the arms of these names (all, if none is named).
    ///
    /// # Errors
    /// `Config` for a name that no arm has.
    pub fn only(mut self, names: &[String]) -> Result<Self, EngineError> {
        let known: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(EngineError::Config(format!(
                "--only: expected names of arms ({}), found {unknown:?}",
                known.join(", ")
            )));
        }
        if !names.is_empty() {
            self.arms.retain(|arm| names.contains(&arm.name));
        }
        Ok(self)
    }

    fn check(&self, standins: &StandIns) -> Result<(), String> {
        let Sizes {
            pairs,
            zero_shot,
            retrieval,
            probe,
        } = self.sizes;
        for (field, found, least) in [
            ("pairs", pairs, 7),
            ("zero_shot", zero_shot, 2),
            ("retrieval", retrieval, 2),
            ("probe", probe, 2),
        ] {
            if found < least {
                return Err(format!(
                    "sizes.{field}: expected at least {least}, found {found}"
                ));
            }
        }
        let mut names = BTreeSet::from([UNTOUCHED]);
        if self.arms.is_empty() {
            return Err("arms: expected at least one, found none".into());
        }
        for (index, arm) in self.arms.iter().enumerate() {
            let place = |problem: String| format!("arms[{index}].{problem}");
            if !is_folder_name(&arm.name) || arm.name.contains('+') {
                let found = &arm.name;
                return Err(place(format!(
                    "name: expected the name of a folder without \"+\", found {found:?}"
                )));
            }
            if !names.insert(&arm.name) {
                let found = &arm.name;
                return Err(place(format!(
                    "name: expected a name of its own for each arm (\"{UNTOUCHED}\" is the encoder as it was), found \
                     {found:?}"
                )));
            }
            let by_texts = arm.retention.is_some_and(|r| r.image_text > 0.0);
            if by_texts && self.photographs.is_some() {
                return Err(place(
                    "retention.image_text: expected 0 with photographs, whose names the stand-in's text tower never read".into(),
                ));
            }
            let model = arm.model(standins).map_err(|error| error.to_string())?;
            for retains in arm.variants() {
                check_stages(&model, &arm.stages(retains)).map_err(place)?;
            }
        }
        Ok(())
    }
}

impl EncoderArm {
    /// Without retention, and with it where there is any.
    pub fn variants(&self) -> Vec<bool> {
        if self.retention.is_some() {
            vec![false, true]
        } else {
            vec![false]
        }
    }

    /// Its name in results.
    pub fn title(&self, retains: bool) -> String {
        match retains {
            true => format!("{}+retention", self.name),
            false => self.name.clone(),
        }
    }

    /// Its stages, the last one with retention if that is wanted.
    pub fn stages(&self, retains: bool) -> Vec<FeedbackStage> {
        let mut stages = self.stages.clone();
        if let (true, Some(retention), Some(last)) = (retains, self.retention, stages.last_mut()) {
            last.objectives.push(Objective::Retention {
                weight: retention.weight,
                image_text: retention.image_text,
                image_image: retention.image_image,
                texts: (retention.image_text > 0.0).then(|| OWN_TEXTS.to_owned()),
            });
        }
        stages
    }

    /// The networks: the stand-in encoder and diffusion model, and what connects them.
    ///
    /// # Errors
    /// `Config` if the stand-in encoder has no projection to a space shared with texts.
    pub fn model(&self, standins: &StandIns) -> Result<FeedbackConfig, EngineError> {
        let model = &standins.preset().model;
        Ok(FeedbackConfig {
            diffusion_size: model.diffusion_size,
            condition: self.condition,
            projection: self.projection,
            path: self.path,
            fresh_denoiser: self.fresh_denoiser,
            checkpoint_blocks: Default::default(),
            encoder: image_config(&model.image_encoder.vision, model.image_size)?,
            unet: self.unet.clone().unwrap_or_else(|| model.unet.clone()),
            autoencoder: model.autoencoder.clone(),
            scheduler: model.scheduler.clone(),
        })
    }
}

fn image_config(vision: &VisionConfig, side: usize) -> Result<ImageConfig, EngineError> {
    match vision {
        VisionConfig::ConvNext {
            trunk,
            projection_dim: Some(width),
            projection,
            ..
        } => Ok(ImageConfig::ConvNext {
            trunk: trunk.clone(),
            projection: *projection,
            projection_dim: *width,
            image_size: side,
        }),
        VisionConfig::Vit {
            trunk,
            projection: true,
            ..
        } => Ok(ImageConfig::Vit(trunk.clone())),
        _ => Err(EngineError::Config(
            "model.image_encoder.vision: expected an encoder with a projection to the space of texts, found none; only \
             such a one can be asked without a language model"
                .into(),
        )),
    }
}

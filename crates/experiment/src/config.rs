//! Configuration of the built-in experiment: how a preset's stand-ins are made, how its model is trained and how
//! large its benchmarks are. What the model is stands in [`deem::Preset`].

use std::path::PathBuf;

use deem_data::DataError;
use deem_data::text::TextTokenizer;
use deem_data::world::scene::WebCaptions;
use deem_data::world::source::{Curriculum, LanguageConfig};
use deem_engine::config::StageConfig;
use deem_engine::train::TrainConfig;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::pyramid::VisionConfig;
use serde::{Deserialize, Serialize};

use crate::pretrain::{CaptionForm, Filling};

/// How the stand-ins of a preset are made, and what the study does with the model that they become: the content
/// of `experiment.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Folder of stand-ins, seen from this file's, that serve where this one has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<PathBuf>,
    /// Image tower of the stand-in that mines negatives, another than the one under test.
    pub miner: VisionConfig,
    /// Text tower of the contrastive stand-ins.
    pub clip_text: ClipTextConfig,
    /// Text encoder of the stand-in diffusion model.
    pub diffusion_text: ClipTextConfig,
    /// How the stand-ins are pre-trained.
    pub pretrain: PretrainConfig,
    /// Training stages, in order.
    pub stages: Vec<StageConfig>,
    /// Sizes of the built-in benchmarks.
    pub evaluation: EvaluationConfig,
    /// What the stand-ins must reach before a card is written; without it nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<GateLimits>,
}

impl Experiment {
    /// Checks every range.
    ///
    /// # Errors
    /// The field, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if self.pretrain.noises == 0 {
            return Err("pretrain.noises: expected at least 1, found 0".into());
        }
        if let Some(Curriculum { upright, single }) = self.pretrain.curriculum
            && upright > single
        {
            return Err(format!(
                "pretrain.curriculum: expected at least as many pictures of single things as of upright ones, which are the \
                 first of them, found single = {single} and upright = {upright}"
            ));
        }
        if let Some(stage) = &self.pretrain.clip_attributes {
            if stage.concepts == 0 {
                return Err(
                    "pretrain.clip_attributes.concepts: expected at least 1, found 0".into(),
                );
            }
            let wrong = |error: DataError| format!("pretrain.clip_attributes.{error}");
            stage.captions.validate().map_err(wrong)?;
        }
        Ok(())
    }

    /// How the diffusion model hears captions.
    pub fn captions(&self, tokenizer: &TextTokenizer) -> CaptionForm {
        /// The longest caption that says everything fits.
        const LENGTH: usize = 48;
        CaptionForm {
            length: LENGTH,
            filling: self.pretrain.filling,
            end: tokenizer.special().pad.into(),
        }
    }
}

/// What stand-ins must reach; each is checked if it is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateLimits {
    /// Language model, scene given in words: accuracy in percent of every attribute in every form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<f64>,
    /// Encoder: zero-shot accuracy in percent on training drawings of captioned styles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<f64>,
    /// Encoder: how often a linear probe's likeliest noun is of something in the scene, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noun_probe: Option<f64>,
    /// Diffusion model: rise of the denoising error, as a share of it, when one attribute of the caption is wrong; the
    /// interval must exclude zero, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening: Option<f64>,
    /// Warm start: rise of the caption's loss with another picture, in nats per word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<f64>,
    /// Warm start: share in percent of single objects that are named when a caption is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<f64>,
    /// Warm start: accuracy in percent of open questions about every attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<f64>,
}

fn one() -> usize {
    1
}

fn is_one(noises: &usize) -> bool {
    *noises == 1
}

/// Pre-training of each stand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Of the denoiser: noises that each picture of a step is denoised from, at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub noises: usize,
    /// Of the denoiser: what fills up a condition that its caption does not fill.
    #[serde(default, skip_serializing_if = "Filling::is_default")]
    pub filling: Filling,
    /// Of the denoiser: how many pictures it first sees of single things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curriculum: Option<Curriculum>,
    /// Contrastive encoder.
    pub clip: PretrainStage,
    /// The contrastive encoder, trained on with captions of which some say everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_attributes: Option<CaptionedStage>,
    /// Contrastive encoder that mines negatives.
    pub miner: PretrainStage,
    /// Latent space.
    pub autoencoder: PretrainStage,
    /// Denoiser and its text encoder.
    pub diffusion: PretrainStage,
    /// Language model.
    pub llm: PretrainStage,
    /// What the language model reads, where it differs from [`LanguageConfig::default`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<LanguageConfig>,
    /// Warm start of resamplers and projections, shared by all arms: phases, in order.
    pub connect: Vec<StageConfig>,
}

/// Pre-training of one stand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainStage {
    /// Examples per step.
    pub batch: usize,
    /// Optimizer and schedule.
    pub train: TrainConfig,
}

/// Further training of a contrastive encoder on other captions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionedStage {
    /// What captions say and leave out.
    pub captions: WebCaptions,
    /// Examples per step.
    pub batch: usize,
    /// Concepts that the pictures of a step are of, at least 1; see [`Gathered`](deem_data::world::source::Gathered).
    pub concepts: usize,
    /// Optimizer and schedule.
    pub train: TrainConfig,
}

/// Sizes of the built-in benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Images in each of RobustVQA A, R and V; two questions each.
    pub robust_vqa: usize,
    /// Questions in each POPE split.
    pub pope: usize,
    /// MMVP pairs.
    pub mmvp: usize,
    /// Regions to be described.
    pub region: usize,
    /// Questions answered together.
    pub batch: usize,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use deem_engine::EngineError;

    use crate::standins::StandIns;

    fn open(preset: &str, overrides: &[&str]) -> Result<StandIns, EngineError> {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins");
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        StandIns::open(&assets.join(preset), &overrides)
    }

    #[test]
    fn fields_out_of_range_are_refused_by_name() {
        for (set, named) in [
            ("pretrain.noises=0", ["experiment.toml", "pretrain.noises"]),
            (
                "pretrain.curriculum.single=63_000",
                ["pretrain.curriculum", "63000"],
            ),
            (
                "pretrain.clip_attributes.concepts=0",
                ["experiment.toml", "clip_attributes.concepts"],
            ),
            (
                "pretrain.clip_attributes.captions.complete=2",
                ["pretrain.clip_attributes", "complete"],
            ),
        ] {
            let error = open("tiny", &[set]).unwrap_err().to_string();
            assert!(named.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}

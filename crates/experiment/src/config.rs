//! Configuration of the built-in experiment: how a preset's stand-ins are made, how its model is trained and how
//! large its benchmarks are. What the model is stands in [`deem::Preset`].

use std::path::PathBuf;

use deem_engine::config::StageConfig;
use deem_engine::train::TrainConfig;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::pyramid::VisionConfig;
use serde::{Deserialize, Serialize};

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
}

/// Pre-training of each stand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Contrastive encoder.
    pub clip: PretrainStage,
    /// Contrastive encoder that mines negatives.
    pub miner: PretrainStage,
    /// Latent space.
    pub autoencoder: PretrainStage,
    /// Denoiser and its text encoder.
    pub diffusion: PretrainStage,
    /// Language model.
    pub llm: PretrainStage,
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

//! Configuration of the built-in experiment: a size of model, how its stand-ins are made, how it is trained
//! and how large its benchmarks are.

use std::path::PathBuf;

use deem_engine::config::{ModelSpec, StageConfig};
use deem_engine::run_config::RunConfig;
use deem_engine::train::TrainConfig;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::deem::DeemConfig;
use serde::{Deserialize, Serialize};

/// Everything that defines a size of model and how it is made and trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Name, for reports.
    pub name: String,
    /// Folder of stand-ins, seen from this file's, that serve where this one has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<PathBuf>,
    /// A published language model instead of a stand-in: a GGUF file, or a folder with one or in
    /// transformers' layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_model: Option<PathBuf>,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// The networks.
    pub model: DeemConfig,
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

impl Preset {
    /// The networks, and how long a sequence they read.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            max_tokens: self.max_tokens,
            model: self.model.clone(),
        }
    }

    /// This preset with a run's model and length.
    pub fn of_run(&self, run: &RunConfig) -> Self {
        let spec = run.spec(&self.spec());
        Self {
            max_tokens: spec.max_tokens,
            model: spec.model,
            ..self.clone()
        }
    }
}

//! How a task is trained.

use deem_collective::Width;
use serde::{Deserialize, Serialize};

use super::lora::LoraConfig;
use super::optimizer::AdamWConfig;
use super::parameters::ParameterGroup;
use super::schedule::Schedule;
use crate::EngineError;

/// How a task is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Learning-rate schedule and number of optimizer steps.
    pub schedule: Schedule,
    /// Optimizer constants.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Trained parameters; everything else is frozen.
    pub groups: Vec<ParameterGroup>,
    /// Low-rank adapters; of the layers that they are on nothing else is trained. A group must name them, too, as
    /// `*.lora.*`, and says how fast.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraConfig>,
    /// Micro-batches per optimizer step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Optimizer steps between checkpoints.
    pub save_every: u64,
    /// Checkpoints that stay: the newest as `checkpoint`, those before as `checkpoint-STEP`.
    #[serde(default = "one")]
    pub keep: u64,
    /// Optimizer steps between probes; 0 means never.
    #[serde(default)]
    pub probe_every: u64,
    /// In which type gradients travel between processes; they are added as 32-bit floats.
    #[serde(default)]
    pub gradients: Width,
    /// Of several processes each keeps a part of the frozen weights of checkpointed blocks (`model.checkpoint_blocks`) in the
    /// host's memory, and gets a block's from the others whenever it runs. Changes no result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shard_frozen: bool,
    /// Threads that make batches ahead of time; which batches and in which order does not depend on their number.
    #[serde(default = "two")]
    pub workers: usize,
}

fn one() -> u64 {
    1
}

fn two() -> usize {
    2
}

impl TrainConfig {
    /// Whether a run of these settings can begin.
    ///
    /// # Errors
    /// `Config` naming the field.
    pub fn check(&self) -> Result<(), EngineError> {
        for (field, value) in [
            ("accumulate", self.accumulate),
            ("keep", self.keep),
            ("workers", self.workers as u64),
        ] {
            if value == 0 {
                return Err(EngineError::Config(format!(
                    "train.{field}: expected at least 1, found 0"
                )));
            }
        }
        for (index, lora) in self.lora.iter().enumerate() {
            lora.check()
                .map_err(|problem| EngineError::Config(format!("train.lora[{index}].{problem}")))?;
        }
        // What is not a number would also be lost on the way through the checkpoint's JSON.
        let clip = self.optimizer.clip;
        if clip.is_nan() || clip <= 0.0 {
            return Err(EngineError::Config(format!(
                "train.optimizer.clip: expected a positive number, or inf to clip nothing, found {clip}"
            )));
        }
        Ok(())
    }
}

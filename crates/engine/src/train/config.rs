//! How a task is trained.

use deem_collective::Width;
use serde::{Deserialize, Serialize};

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
    /// Micro-batches per optimizer step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Optimizer steps between checkpoints.
    pub save_every: u64,
    /// Optimizer steps between probes; 0 means never.
    #[serde(default)]
    pub probe_every: u64,
    /// In which type gradients travel between processes; they are added as 32-bit floats.
    #[serde(default)]
    pub gradients: Width,
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
            ("workers", self.workers as u64),
        ] {
            if value == 0 {
                return Err(EngineError::Config(format!(
                    "train.{field}: expected at least 1, found 0"
                )));
            }
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

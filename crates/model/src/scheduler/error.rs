use serde::de::DeserializeOwned;

/// What can be wrong with a schedule or its use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchedulerError {
    /// The JSON text is not a scheduler configuration.
    #[error("scheduler configuration: {0}")]
    Parse(String),
    /// A field has a value that cannot be used.
    #[error("scheduler configuration: `{field}` is {found}; expected {expected}")]
    Config {
        /// Field of `scheduler_config.json`.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A timestep lies outside the training schedule.
    #[error("timestep {found} is outside the schedule 0..{steps}")]
    Timestep {
        /// The timestep.
        found: usize,
        /// Number of training timesteps.
        steps: usize,
    },
    /// The number of timesteps does not fit the batch.
    #[error("{found} timesteps for a batch of {batch}; pass one for all or one for each")]
    Batch {
        /// Number of timesteps given.
        found: usize,
        /// Size of the batch.
        batch: usize,
    },
    /// More or fewer sampling steps than the schedule allows.
    #[error("{found} sampling steps; expected 1 to {limit}")]
    Steps {
        /// The number asked for.
        found: usize,
        /// The largest possible number.
        limit: usize,
    },
    /// A sampler was asked for a step it does not have.
    #[error("sampling step {found} of {steps}")]
    Index {
        /// The index asked for.
        found: usize,
        /// Number of sampling steps.
        steps: usize,
    },
    /// A stochastic step was called without its noise.
    #[error("this sampler adds noise at every step: pass a tensor of standard normal noise")]
    MissingNoise,
}

/// Reads a scheduler configuration as diffusers writes it.
///
/// Fields of other scheduler classes are ignored, since diffusers lets every class read every
/// file; `-Infinity`, which Python writes and JSON forbids, is read as absent.
///
/// # Errors
/// `Parse` naming line and field.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, SchedulerError> {
    serde_json::from_str(&text.replace("-Infinity", "null"))
        .map_err(|error| SchedulerError::Parse(error.to_string()))
}

//! Noise schedules, samplers and the choice of training timesteps.
//!
//! Everything that is a number per timestep is computed on the host in f64; tensors only meet the
//! finished coefficients. Configuration files are diffusers' `scheduler_config.json`.

mod ddim;
mod dpm_solver;
mod error;
mod noise;
mod sampler;
mod sigmas;
mod threshold;
mod timestep;

pub use ddim::{Ddim, DdimConfig};
pub use dpm_solver::{DpmSolver, DpmSolverConfig, FinalSigma, SolverAlgorithm, SolverType};
pub use error::{SchedulerError, from_json};
pub use noise::{BetaSchedule, NoiseConfig, NoiseSchedule, PredictionType};
pub use sampler::{Sampler, Spacing};
pub use threshold::Thresholding;
pub use timestep::TimestepSampler;

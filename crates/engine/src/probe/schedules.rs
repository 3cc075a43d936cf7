//! Noise schedules and single steps of samplers.

use deem_model::scheduler::{
    Ddim, DdimConfig, DpmSolver, DpmSolverConfig, NoiseConfig, NoiseSchedule, Sampler,
};
use serde::Deserialize;

use super::Probe;
use super::networks::per_image;
use super::tensors::{Input, Tensors};
use crate::EngineError;

pub(super) fn scheduler(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let config: NoiseConfig = probe.published()?;
    let schedule = probe.fits(NoiseSchedule::new(&config))?;
    tensors.declare(&[
        Input::float("sample", &[]).of_any_rank(),
        Input::float("noise", &[]).of_any_rank(),
        Input::integer("timesteps", &[]).of_any_rank(),
    ])?;
    let shape = same_shape(tensors, "sample", "noise")?;
    let (sample, noise) = (tensors.rows("sample"), tensors.rows("noise"));
    let timesteps = per_image(tensors, "timesteps", sample.dims()[0])?;
    let noisy = schedule.add_noise(sample.clone(), noise.clone(), &timesteps);
    let noisy = noisy.map_err(|error| tensors.unfit(error))?;
    let velocity = schedule.velocity(sample, noise, &timesteps);
    let velocity = velocity.map_err(|error| tensors.unfit(error))?;
    tensors.output_as("noisy", noisy, &shape);
    tensors.output_as("velocity", velocity, &shape);
    Ok(())
}

/// What a sampler's configuration says beside the public fields.
#[derive(Deserialize)]
struct Steps {
    #[serde(rename = "num_inference_steps")]
    steps: usize,
}

pub(super) fn ddim(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let Steps { steps } = probe.config()?;
    let sampler = Ddim::new(&probe.published::<DdimConfig>()?, steps);
    step(probe, tensors, probe.fits(sampler)?)
}

pub(super) fn dpm_solver(probe: &Probe, tensors: &mut Tensors) -> Result<(), EngineError> {
    let Steps { steps } = probe.config()?;
    let sampler = DpmSolver::new(&probe.published::<DpmSolverConfig>()?, steps);
    step(probe, tensors, probe.fits(sampler)?)
}

/// One step of a fresh sampler; `step` counts from 0.
fn step(
    probe: &Probe,
    tensors: &mut Tensors,
    mut sampler: impl Sampler,
) -> Result<(), EngineError> {
    let mut inputs = vec![
        Input::float("sample", &[]).of_any_rank(),
        Input::float("model_output", &[]).of_any_rank(),
        Input::integer("step", &[]).of_any_rank(),
    ];
    if sampler.stochastic() {
        inputs.push(Input::float("noise", &[]).of_any_rank());
    }
    tensors.declare(&inputs)?;
    let shape = same_shape(tensors, "sample", "model_output")?;
    let limit = sampler.timesteps().len();
    let index = match tensors.integers("step").as_slice() {
        [index] if (0..limit as i64).contains(index) => *index as usize,
        other => {
            return Err(tensors.unfit(format!(
                "step: expected one index below {limit}, found {other:?}"
            )));
        }
    };
    let noise = if sampler.stochastic() {
        same_shape(tensors, "sample", "noise")?;
        Some(tensors.rows("noise"))
    } else {
        None
    };
    let (sample, output) = (tensors.rows("sample"), tensors.rows("model_output"));
    let previous = probe.fits(sampler.step(index, sample, output, noise))?;
    tensors.output_as("prev_sample", previous, &shape);
    Ok(())
}

fn same_shape(tensors: &Tensors, first: &str, other: &str) -> Result<Vec<usize>, EngineError> {
    let (expected, found) = (tensors.shape(first), tensors.shape(other));
    if expected != found {
        return Err(tensors.unfit(format!(
            "{other}: expected the shape {expected:?} of {first}, found {found:?}"
        )));
    }
    Ok(expected.to_vec())
}

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::SchedulerError;

/// A way from noise to a sample, in a fixed number of steps.
///
/// ```text
/// for index in 0..sampler.timesteps().len() {
///     let output = unet(sample, sampler.timesteps()[index]);
///     sample = sampler.step(index, sample, output, None)?;
/// }
/// ```
pub trait Sampler {
    /// Training timesteps to be visited, in order (falling).
    fn timesteps(&self) -> &[usize];

    /// The training timestep at `index`.
    ///
    /// # Errors
    /// `Index` beyond the last step.
    fn timestep(&self, index: usize) -> Result<usize, SchedulerError> {
        let steps = self.timesteps().len();
        let timestep = self.timesteps().get(index).copied();
        timestep.ok_or(SchedulerError::Index {
            found: index,
            steps,
        })
    }

    /// Whether [`Self::step`] needs noise.
    fn stochastic(&self) -> bool;

    /// One step: from the sample at `timesteps()[index]` to the next one.
    ///
    /// Sampling may begin at any index (an image noised to that timestep), and goes on without
    /// gaps. `noise` is standard normal and only read by stochastic samplers.
    ///
    /// # Shapes
    /// - `sample`, `output` (the network's prediction), `noise`: the same shape, which is returned
    ///
    /// # Errors
    /// `Index` beyond the last step, `MissingNoise`.
    fn step(
        &mut self,
        index: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, SchedulerError>;
}

/// How sampling steps are placed on the training timesteps (Lin et al. 2024, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Evenly, with both ends.
    Linspace,
    /// Multiples of an integer stride, from 0.
    Leading,
    /// Backwards from the last timestep, by a fractional stride.
    Trailing,
}

/// `last, last − stride, ..` above zero, rounded, minus one.
pub(super) fn trailing(last: usize, steps: usize, stride: f64) -> Vec<usize> {
    let last = last as f64;
    let count = (last / stride).ceil() as usize;
    let mut timesteps: Vec<usize> = (0..count)
        .map(|i| (last - i as f64 * stride).round_ties_even() as usize)
        .map(|t| t.saturating_sub(1))
        .collect();
    timesteps.truncate(steps);
    timesteps
}

/// `count` rounded points from `end` down to 0.
pub(super) fn linspace(end: usize, count: usize) -> Vec<usize> {
    let stride = end as f64 / (count.max(2) - 1) as f64;
    (0..count)
        .rev()
        .map(|i| (i as f64 * stride).round_ties_even() as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacings() {
        assert_eq!(trailing(1000, 4, 250.0), [999, 749, 499, 249]);
        assert_eq!(trailing(1000, 3, 1000.0 / 3.0), [999, 666, 332]);
        assert_eq!(linspace(999, 4), [999, 666, 333, 0]);
        assert_eq!(linspace(999, 1), [0]);
    }
}

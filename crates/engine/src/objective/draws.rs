//! All randomness of a training step, as a function of (seed, index).

use burn::tensor::{Device, Tensor, TensorData};
use deem_model::scheduler::TimestepSampler;
use deem_model::weights::init::normal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers that belongs to one micro-batch.
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of micro-batch `index` in a run with this seed.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        Self(rng)
    }

    /// Standard normal noise.
    pub fn noise<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let values = normal(&mut self.0, shape.iter().product(), 1.0);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Training timesteps out of `steps`, as `sampler` distributes them.
    pub fn timesteps(
        &mut self,
        sampler: TimestepSampler,
        count: usize,
        steps: usize,
    ) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let uniform = self.0.random::<f64>();
                let gaussian = f64::from(normal(&mut self.0, 1, 1.0)[0]);
                sampler.timestep(uniform, gaussian, steps)
            })
            .collect()
    }

    /// Independent events of a given probability.
    pub fn events(&mut self, probability: f64, count: usize) -> Vec<bool> {
        (0..count)
            .map(|_| self.0.random::<f64>() < probability)
            .collect()
    }
}

//! All randomness of a training step, as a function of the seed and of what is drawn for.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use deem_data::Batch;
use deem_model::scheduler::TimestepSampler;
use deem_model::weights::init::normal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What pictures of a batch are drawn noise for. Each purpose has its own, so that a loss without one term draws the
/// same for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// L_CSR.
    Feedback,
    /// L_NIP.
    Image,
}

/// Streams of random numbers: one for all that is drawn, or one for each picture.
pub struct Draws(Vec<ChaCha8Rng>);

impl Draws {
    /// The one stream of micro-batch `index` in a run with this seed.
    pub fn new(seed: u64, index: u64) -> Self {
        Self(vec![stream(seed, index)])
    }

    /// A stream for each picture of a batch whose rows are the run's from `first_row` on: who computes a row, and
    /// with which others, does not change its noise.
    pub fn of_pictures(seed: u64, purpose: Purpose, first_row: u64, batch: &Batch) -> Self {
        let mut in_row: HashMap<usize, u64> = HashMap::new();
        let streams = batch.images.iter().map(|image| {
            let number = in_row.entry(image.row).or_default();
            *number += 1;
            // Rows have far fewer than 2^15 pictures.
            let row = first_row + image.row as u64;
            stream(seed, (row << 16) | (*number << 1) | purpose as u64)
        });
        Self(streams.collect())
    }

    /// The streams of some pictures only.
    #[must_use]
    pub fn select(&self, pictures: &[usize]) -> Self {
        Self(pictures.iter().map(|i| self.0[*i].clone()).collect())
    }

    /// Standard normal noise.
    ///
    /// # Panics
    /// If there is a stream for each picture, and `shape` does not begin with their number.
    pub fn noise<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let streams = self.0.len();
        assert!(
            streams == 1 || streams == shape[0],
            "noise for {} of {streams} pictures",
            shape[0]
        );
        let count = shape.iter().product::<usize>() / streams.max(1);
        let values = self.0.iter_mut();
        let values: Vec<f32> = values.flat_map(|rng| normal(rng, count, 1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Training timesteps out of `steps`, as `sampler` distributes them.
    pub fn timesteps(
        &mut self,
        sampler: TimestepSampler,
        count: usize,
        steps: usize,
    ) -> Vec<usize> {
        self.each(count, |rng| {
            let uniform = rng.random::<f64>();
            let gaussian = f64::from(normal(rng, 1, 1.0)[0]);
            sampler.timestep(uniform, gaussian, steps)
        })
    }

    /// For each of `rows`, `count` different ones of `places` things, in their order.
    ///
    /// # Panics
    /// If there are fewer things.
    pub fn choices(&mut self, rows: usize, places: usize, count: usize) -> Vec<Vec<usize>> {
        assert!(count <= places, "{count} of {places}");
        self.each(rows, |rng| {
            if count == places {
                return (0..places).collect();
            }
            // The first steps of a Fisher–Yates shuffle.
            let mut all: Vec<usize> = (0..places).collect();
            for at in 0..count {
                let other = at + below(rng, places - at);
                all.swap(at, other);
            }
            all.truncate(count);
            all.sort_unstable();
            all
        })
    }

    /// One of the numbers below `limit`, which is at least 1, drawn from the first stream.
    pub fn below(&mut self, limit: usize) -> usize {
        below(&mut self.0[0], limit)
    }

    /// Independent events of a given probability.
    pub fn events(&mut self, probability: f64, count: usize) -> Vec<bool> {
        self.each(count, |rng| rng.random::<f64>() < probability)
    }

    fn each<T>(&mut self, count: usize, draw: impl Fn(&mut ChaCha8Rng) -> T) -> Vec<T> {
        let streams = self.0.len();
        (0..count).map(|i| draw(&mut self.0[i % streams])).collect()
    }
}

fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    ((rng.random::<f64>() * limit as f64) as usize).min(limit - 1)
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

#[cfg(test)]
mod tests {
    use deem_data::BatchImage;

    use super::*;

    /// Pictures in these rows.
    fn batch(rows: &[usize]) -> Batch {
        let image = |row: &usize| BatchImage {
            row: *row,
            soi: 0,
            document_start: 0,
            counted_nip: true,
            id: String::new(),
        };
        Batch {
            images: rows.iter().map(image).collect(),
            ..Batch::default()
        }
    }

    fn drawn(mut draws: Draws, count: usize) -> (Vec<f32>, Vec<usize>, Vec<bool>) {
        let noise = draws.noise([count, 3], &Device::flex()).into_data();
        let timesteps = draws.timesteps(TimestepSampler::Uniform, count, 1000);
        (noise.iter().collect(), timesteps, draws.events(0.5, count))
    }

    #[test]
    fn noise_belongs_to_the_row_and_not_to_the_batch() {
        // Rows 6, 7 and 8 of the run, two pictures in row 7; together, and row by row.
        let draws =
            |first, rows: &[usize]| Draws::of_pictures(3, Purpose::Feedback, first, &batch(rows));
        let whole = drawn(draws(6, &[0, 1, 1, 2]), 4);
        let apart = [(6, vec![0], 1), (7, vec![0, 0], 2), (8, vec![0], 1)]
            .map(|(first, rows, count)| drawn(draws(first, &rows), count));
        assert_eq!(
            whole.0,
            apart.iter().flat_map(|d| d.0.clone()).collect::<Vec<_>>()
        );
        assert_eq!(
            whole.1,
            apart.iter().flat_map(|d| d.1.clone()).collect::<Vec<_>>()
        );
        assert_eq!(
            whole.2,
            apart.iter().flat_map(|d| d.2.clone()).collect::<Vec<_>>()
        );
        let selected = drawn(draws(6, &[0, 1, 1, 2]).select(&[1, 3]), 2);
        assert_eq!(selected.0, [&whole.0[3..6], &whole.0[9..]].concat());
        let image = Draws::of_pictures(3, Purpose::Image, 6, &batch(&[0, 1, 1, 2]));
        assert_ne!(drawn(image, 4).0, whole.0);
    }
}

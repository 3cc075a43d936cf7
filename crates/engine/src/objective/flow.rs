//! GenHancer's path (arXiv 2503.19480 §3.3; rectified flow, Liu et al. 2023): `z_t = (1 − t) z + t ε` on the straight line
//! between latent and noise, of which the velocity `ε − z` is predicted. Its denoiser is light and trained from scratch,
//! its condition the class token alone, and t is `sigmoid(n)`, n standard normal
//! ([`LogitNormal`](deem_model::scheduler::TimestepSampler::LogitNormal)).

use burn::tensor::{Tensor, TensorData};

/// t of a timestep: the middle of its share of [0, 1].
///
/// Differs from: GenHancer, where t is continuous; of a thousand steps each is a thousandth wide.
pub fn time(timestep: usize, steps: usize) -> f64 {
    (timestep as f64 + 0.5) / steps.max(1) as f64
}

/// Latents on the line to their noise, and their velocity.
///
/// # Shapes
/// - `latents`, `noise`: `[pictures, height, width, channels]`, both results too
/// - `timesteps`: one for each picture, below `steps`
pub fn straight(
    latents: Tensor<4>,
    noise: Tensor<4>,
    timesteps: &[usize],
    steps: usize,
) -> (Tensor<4>, Tensor<4>) {
    let shares = |of: &dyn Fn(f64) -> f64| {
        let values: Vec<f32> = timesteps
            .iter()
            .map(|t| of(time(*t, steps)) as f32)
            .collect();
        let data = TensorData::new(values, [timesteps.len(), 1, 1, 1]);
        Tensor::<4>::from_data(data, (&latents.device(), latents.dtype()))
    };
    let (kept, noisy) = (shares(&|t| 1.0 - t), shares(&|t| t));
    let velocity = noise.clone() - latents.clone();
    (latents * kept + noise * noisy, velocity)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_quarter_of_the_way_by_hand() {
        let device = Device::flex();
        let of = |value: f32| Tensor::<4>::full([1, 1, 1, 1], value, &device);
        // The first of two steps is the middle of [0, 0.5].
        let (noised, velocity) = straight(of(8.0), of(-4.0), &[0], 2);
        assert_eq!(noised.into_scalar::<f32>(), 0.75 * 8.0 - 0.25 * 4.0);
        assert_eq!(velocity.into_scalar::<f32>(), -12.0);
    }
}

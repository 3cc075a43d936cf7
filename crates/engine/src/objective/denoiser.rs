//! A diffusion model on either of two paths between picture and noise, as the objectives of encoders use it: noise once,
//! then predict under as many conditions as it takes.

use burn::tensor::Tensor;
use deem_kernels as kernels;
use deem_model::diffusion::{Condition, Diffusion};
use deem_model::encoder_feedback::NoisePath;

use super::flow;

/// A denoiser and the path that it works on.
#[derive(Clone, Copy)]
pub struct Denoiser<'a> {
    /// The networks.
    pub diffusion: Diffusion<'a>,
    /// Where noised latents lie, and what is predicted of them.
    pub path: NoisePath,
}

/// Latents with noise.
#[derive(Clone, Debug)]
pub struct Noised {
    /// `[pictures, height, width, channels]`
    pub latents: Tensor<4>,
    /// What should be predicted of them, in the same shape.
    pub target: Tensor<4>,
    /// One step for each picture.
    pub timesteps: Vec<usize>,
}

impl Denoiser<'_> {
    /// Steps that a timestep may be.
    pub fn steps(&self) -> usize {
        self.diffusion.schedule.steps()
    }

    /// Latents with noise in them.
    ///
    /// # Shapes
    /// - `latents`, `noise`: `[pictures, height, width, channels]`
    /// - `timesteps`: one for each picture, below [`Self::steps`]
    ///
    /// # Panics
    /// If a timestep lies outside the schedule.
    pub fn noised(&self, latents: Tensor<4>, noise: Tensor<4>, timesteps: &[usize]) -> Noised {
        let (latents, target) = match self.path {
            NoisePath::Flow => flow::straight(latents, noise, timesteps, self.steps()),
            NoisePath::Diffusion => {
                let schedule = self.diffusion.schedule;
                let target = schedule.target(latents.clone(), noise.clone(), timesteps);
                let target = target.expect("timesteps of this schedule");
                let noisy = self.diffusion.add_noise(latents, noise, timesteps);
                (noisy, target)
            }
        };
        Noised {
            latents,
            target,
            timesteps: timesteps.to_vec(),
        }
    }

    /// What the network predicts under a condition.
    ///
    /// # Shapes
    /// - `tokens`: `[pictures, tokens, condition_dim]`
    /// - returns the shape of the latents
    pub fn predict(&self, noised: &Noised, tokens: Tensor<3>) -> Tensor<4> {
        let condition = Condition::of_tokens(tokens);
        self.diffusion
            .denoise(noised.latents.clone(), &noised.timesteps, condition)
    }
}

/// Denoising feedback for a bare encoder (DEEM §2.2, DIVA §3.2): `E ‖f_θ(z_t, t, c) − target‖²`, the mean squared error of
/// the prediction under what the encoder says of the very picture. On the straight path and with a denoiser trained from
/// scratch it is GenHancer's objective (Eq. 1 there).
///
/// # Shapes
/// - `predicted`: [what is predicted](Denoiser::predict) under that condition
/// - returns `[1]`
pub fn denoising_loss(noised: &Noised, predicted: Tensor<4>) -> Tensor<1> {
    kernels::mean((predicted - noised.target.clone()).square())
}

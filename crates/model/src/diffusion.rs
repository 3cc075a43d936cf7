//! The diffusion model D_DM as the method uses it: latents, noise, a prediction, its error (DEEM §2.2).
//!
//! The networks belong to someone else (a whole [`Deem`](crate::deem::Deem), a stand-in in training); this
//! view borrows them and knows the order in which they work. Feedback, next-image prediction, pre-training
//! and sampling all go through it, so the sequence noise → target → denoise → error stands here only.

use burn::tensor::{FloatDType, Int, Tensor};
use deem_kernels::precision::{cast, wide};

use crate::autoencoder::Autoencoder;
use crate::mmfs::ImageFeatures;
use crate::scheduler::NoiseSchedule;
use crate::unet::{UNet, UnetSynchronizer};

/// A diffusion model, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Diffusion<'a> {
    /// Denoises latents.
    pub unet: &'a UNet,
    /// Between pixels and latents.
    pub autoencoder: &'a Autoencoder,
    /// How much noise there is at each training step, and what is predicted.
    pub schedule: &'a NoiseSchedule,
    /// MMFS blocks on the UNet's skip connections, if it has any.
    pub synchronizer: Option<&'a UnetSynchronizer>,
    /// What networks compute in. Latents, noise and what is predicted of them are in 32 bits or more.
    pub compute: FloatDType,
}

/// What the denoiser is told of the images to be restored.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `[conditions, tokens, cross_dim]`, what cross-attention reads: one for each image, or fewer, of which image `i`
    /// hears the one at `i` modulo their number.
    pub tokens: Tensor<3>,
    /// What the synchroniser may look at; `None` is the same as invisible images.
    pub visible: Option<VisibleImages>,
}

/// Images that the synchroniser may look at.
#[derive(Clone, Debug)]
pub struct VisibleImages {
    /// Levels `[images, n, height, width, channels]`: `n` images for each one to be restored.
    pub features: ImageFeatures,
    /// `[images, n]`, counted backwards from 1; 0 for an invisible one.
    pub relative: Tensor<2, Int>,
}

impl Condition {
    /// Condition tokens alone.
    pub fn of_tokens(tokens: Tensor<3>) -> Self {
        Self {
            tokens,
            visible: None,
        }
    }
}

impl Diffusion<'_> {
    /// Scaled latents of images: the mean of the autoencoder's posterior.
    ///
    /// Differs from: the official code, which draws from the posterior; its standard deviation is
    /// negligible and the mean makes the loss a function of its arguments.
    ///
    /// # Shapes
    /// - `pixels`: `[images, 3, height, width]`, range [0, 1]
    /// - returns `[images, height / f, width / f, latent channels]`
    pub fn latents(&self, pixels: Tensor<4>) -> Tensor<4> {
        wide(self.autoencoder.latents(self.enter(pixels)))
    }

    /// Images of scaled latents, `[images, 3, height, width]` clamped to [0, 1].
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = self.enter(self.autoencoder.unscale(latents));
        let pixels = wide(self.autoencoder.decode(latents));
        pixels.add_scalar(1.0).div_scalar(2.0).clamp(0.0, 1.0)
    }

    /// Squared error of the prediction for latents that are noised first, unreduced.
    ///
    /// # Shapes
    /// - `latents`: `[images, height, width, channels]`, scaled
    /// - `noise`: the same shape, standard normal
    /// - `timesteps`: one training step for each image
    /// - returns the shape of `latents`
    ///
    /// # Panics
    /// If a timestep lies outside the schedule.
    pub fn error(
        &self,
        latents: Tensor<4>,
        noise: Tensor<4>,
        timesteps: &[usize],
        condition: Condition,
    ) -> Tensor<4> {
        let target = self
            .schedule
            .target(latents.clone(), noise.clone(), timesteps)
            .expect("timesteps of this schedule");
        let noisy = self.add_noise(latents, noise, timesteps);
        let predicted = self.denoise(noisy, timesteps, condition);
        (predicted - target).square()
    }

    /// `z_t`: latents noised to the given training steps (one for each image).
    ///
    /// # Panics
    /// If a timestep lies outside the schedule.
    pub fn add_noise(
        &self,
        latents: Tensor<4>,
        noise: Tensor<4>,
        timesteps: &[usize],
    ) -> Tensor<4> {
        self.schedule
            .add_noise(latents, noise, timesteps)
            .expect("timesteps of this schedule")
    }

    /// The prediction (noise or velocity) for noised latents.
    ///
    /// # Shapes
    /// - `noisy`: `[images, height, width, channels]`, returned in the same shape
    /// - `timesteps`: one training step for each image
    pub fn denoise(
        &self,
        noisy: Tensor<4>,
        timesteps: &[usize],
        condition: Condition,
    ) -> Tensor<4> {
        let Condition { tokens, visible } = condition;
        let images = self.synchronizer.map(|synchronizer| match visible {
            Some(VisibleImages { features, relative }) => synchronizer.prepare(&features, relative),
            None => synchronizer.prepare_nothing(),
        });
        let (noisy, tokens) = (self.enter(noisy), self.enter(tokens));
        wide(self.unet.forward(noisy, timesteps, tokens, images.as_ref()))
    }

    fn enter<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        cast(x, self.compute.into())
    }
}

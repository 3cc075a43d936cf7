//! L_CSR: consistency semantic regularisation, the generative feedback (spec: DEEM §2.2).
//!
//! The frozen diffusion model must restore the very image that the encoder saw, conditioned on what
//! the encoder says of it. Its denoising error flows back through it into the encoder.

use burn::tensor::Tensor;
use deem_kernels as kernels;
use deem_model::diffusion::{Condition, Diffusion};

/// Mean squared error of the predicted noise (or velocity), given what an encoder says of the images.
///
/// All it needs of the encoder is `understood`, for a [`Deem`](deem_model::deem::Deem)'s own
/// [`EncodedImages::own_condition`](deem_model::encoded_images::EncodedImages::own_condition).
///
/// # Shapes
/// - `understood`: condition tokens of each image and, if there is a synchroniser, its pyramid
/// - `latents`: `[images, height, width, channels]`, the diffusion view's scaled latents
/// - `noise`: the same shape, standard normal
/// - `timesteps`: one training step per image
/// - `mask`: `[images, height, width, 1]` in {0, 1}; the error is averaged where it is 1
/// - returns `[1]`
///
/// # Panics
/// If a timestep lies outside the schedule.
pub fn feedback_loss(
    diffusion: &Diffusion,
    understood: Condition,
    latents: Tensor<4>,
    noise: Tensor<4>,
    timesteps: &[usize],
    mask: Option<Tensor<4>>,
) -> Tensor<1> {
    masked_mean(diffusion.error(latents, noise, timesteps, understood), mask)
}

/// Mean of an error map over the latent area where `mask` is 1, then over images.
pub(super) fn masked_mean(error: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<1> {
    let Some(mask) = mask else {
        return kernels::mean(error);
    };
    let area = kernels::sum(mask.clone()).clamp_min(1.0);
    // Channel mean first: the mask has one channel.
    kernels::sum(kernels::mean_last(error) * mask) / area
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn errors_outside_the_mask_do_not_count() {
        let device = Device::flex();
        // Two cells with two channels: errors (1, 3) inside, (100, 100) outside.
        let error =
            Tensor::<1>::from_floats([1.0, 3.0, 100.0, 100.0], &device).reshape([1, 1, 2, 2]);
        let mask = Tensor::<1>::from_floats([1.0, 0.0], &device).reshape([1, 1, 2, 1]);
        let inside: f64 = masked_mean(error.clone(), Some(mask))
            .into_data()
            .iter::<f64>()
            .sum();
        assert_eq!(inside, 2.0);
        let all: f64 = masked_mean(error, None).into_data().iter::<f64>().sum();
        assert_eq!(all, 51.0);
    }
}

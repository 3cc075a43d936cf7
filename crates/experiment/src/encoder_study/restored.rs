//! What an encoder understood of pictures, drawn by the diffusion model that corrects it.

use burn::tensor::{Device, Tensor};
use deem_engine::EngineError;
use deem_engine::generate::{ImageOptions, Start, sample_latents};
use deem_engine::objective::{Draws, condition_features, flow};
use deem_engine::pictures::from_tensor;
use deem_model::diffusion::Condition;
use deem_model::encoder_feedback::{FeedbackModel, NoisePath};
use image::RgbImage;

use crate::pretrain::pixels;

/// How much of a picture is noise when its restoration starts.
const STRENGTH: f64 = 0.65;
/// Steps on the straight path.
const STEPS: usize = 30;

/// Pictures restored from noise under what the encoder says of them, without guidance.
///
/// - `sides`: of the encoder's and of the restored pictures, in pixels
///
/// # Errors
/// `Config` if the sampler refuses, `DrawingNotFinite`.
pub fn restored(
    model: &FeedbackModel,
    pictures: &[RgbImage],
    sides: [usize; 2],
    device: &Device,
) -> Result<Vec<RgbImage>, EngineError> {
    let [seen, drawn] = sides.map(|side| pixels(pictures, side as u32, device));
    let features = model.see(seen);
    let [count, places, _] = features.places.dims();
    let all = vec![(0..places).collect(); count];
    let tokens = model.project(condition_features(&features, model.condition(), &all));
    let diffusion = model.diffusion();
    let latents = diffusion.latents(drawn);
    let latents = match model.path() {
        NoisePath::Diffusion => {
            let options = ImageOptions {
                guidance: 1.0,
                ..ImageOptions::default()
            };
            let null = tokens.zeros_like();
            let condition = Condition::of_tokens(tokens);
            let start = Start::Latents(latents, STRENGTH);
            sample_latents(&diffusion, condition, null, start, &options, &mut |_, _| {
                true
            })?
        }
        NoisePath::Flow => straight(model, latents, tokens, device),
    };
    Ok(from_tensor(diffusion.decode(latents)))
}

/// Euler's steps back along the straight path.
fn straight(
    model: &FeedbackModel,
    latents: Tensor<4>,
    tokens: Tensor<3>,
    device: &Device,
) -> Tensor<4> {
    let diffusion = model.diffusion();
    let steps = diffusion.schedule.steps();
    let count = latents.dims()[0];
    let noise = Draws::new(0, 0).noise(latents.dims(), device);
    let level = |left: usize| (STRENGTH * steps as f64 * left as f64 / STEPS as f64) as usize;
    let (mut sample, _) = flow::straight(latents, noise, &vec![level(STEPS); count], steps);
    for left in (1..=STEPS).rev() {
        let (from, to) = (level(left), level(left - 1));
        let condition = Condition::of_tokens(tokens.clone());
        let velocity = diffusion.denoise(sample.clone(), &vec![from; count], condition);
        // The last step goes to the picture itself.
        let end = if left == 1 {
            0.0
        } else {
            flow::time(to, steps)
        };
        sample = sample - velocity.mul_scalar(flow::time(from, steps) - end);
    }
    sample
}

//! Test-time adaptation: a few steps of feedback on one image before it is answered about (official
//! code; off by default there).

use burn::module::Module;
use burn::tensor::Tensor;
use deem_model::component::IMAGE_ENCODER;
use deem_model::deem::Deem;

use crate::EngineError;
use crate::objective::{Draws, feedback_loss};
use crate::train::parameters::{ParameterGroup, select};
use crate::train::{AdamW, AdamWConfig, GradientSet};

/// How an image encoder adapts to an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptOptions {
    /// Optimizer steps, each over all timesteps.
    pub steps: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Evenly spaced timesteps per step.
    pub timesteps: usize,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for AdaptOptions {
    /// The official code's constants.
    fn default() -> Self {
        Self {
            steps: 4,
            learning_rate: 4e-6,
            timesteps: 4,
            seed: 0,
        }
    }
}

/// A copy of `model` whose image encoder is adapted to one image; the original stays as it is, which
/// is what "restore the weights afterwards" means here.
///
/// # Shapes
/// - `pixels`: `[1, 3, height, width]` in [0, 1], the encoder view, on the inner device
/// - `target`: the same for the diffusion view
///
/// # Errors
/// `Pattern` if the model has no image encoder.
pub fn adapt(
    model: &Deem,
    pixels: Tensor<4>,
    target: Tensor<4>,
    options: &AdaptOptions,
) -> Result<Deem, EngineError> {
    let device = pixels.device().autodiff();
    let groups = [ParameterGroup {
        patterns: vec![IMAGE_ENCODER.into()],
        learning_rate: options.learning_rate,
        weight_decay: 0.0,
    }];
    let (mut model, infos) = select(model.clone().train(), &groups)?;
    let config = AdamWConfig {
        beta2: 0.999,
        epsilon: 1e-8,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(config, &groups, &infos);
    let pixels = Tensor::<4>::from_inner(pixels);
    let copies = options.timesteps.max(1);
    let latents = model
        .diffusion()
        .latents(Tensor::from_inner(target))
        .repeat_dim(0, copies);
    let total = model.diffusion().schedule.steps();
    // The same range that training squeezes its timesteps into.
    let timesteps: Vec<usize> = (0..copies)
        .map(|i| (total as f64 * (0.2 + 0.6 * (i as f64 + 0.5) / copies as f64)) as usize)
        .collect();
    for step in 0..options.steps as u64 {
        let noise = Draws::new(options.seed, step).noise(latents.dims(), &device);
        let encoded = model
            .encode_images(pixels.clone(), None)
            .select(&vec![0; copies]);
        let understood = encoded.own_condition();
        let diffusion = model.diffusion();
        let loss = feedback_loss(
            &diffusion,
            understood,
            latents.clone(),
            noise,
            &timesteps,
            None,
        );
        let gradients = GradientSet::collect(&model, &loss.backward());
        let norm = gradients.norm(|_| true);
        model = optimizer.step(model, gradients, norm, step, 1.0);
    }
    Ok(model.valid())
}

//! Images from the diffusion model: of a context, or of what the encoder understood of an image.

use burn::tensor::{Int, Tensor};
use deem_kernels::precision::like;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::mmfs::ImageFeatures;
use deem_model::scheduler::{Ddim, DdimConfig, DpmSolver, DpmSolverConfig, Sampler};
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::objective::Draws;

/// Which sampler turns noise into an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// DDIM without added noise (Song et al., 2021).
    Ddim,
    /// DPM-Solver++ (Lu et al., 2022), second order.
    #[default]
    DpmSolver,
}

/// How images are generated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptions {
    /// Denoising steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 is none.
    pub guidance: f64,
    /// Sampler.
    #[serde(default)]
    pub sampler: SamplerKind,
    /// Seed of the starting noise.
    pub seed: u64,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            steps: 30,
            guidance: 3.5,
            sampler: SamplerKind::DpmSolver,
            seed: 0,
        }
    }
}

/// What the UNet's synchroniser may look at.
pub type Visible = Option<(ImageFeatures, Tensor<2, Int>)>;

/// Samples latents for condition tokens.
///
/// With `start`, sampling begins from these latents noised to the given fraction of the schedule
/// instead of from pure noise.
///
/// # Shapes
/// - `condition`: `[images, queries, cross_dim]`
/// - returns scaled latents `[images, side, side, channels]`
///
/// # Errors
/// `Config` if the sampler refuses the number of steps.
pub fn sample_latents(
    model: &Deem,
    condition: Tensor<3>,
    visible: Visible,
    start: Option<(Tensor<4>, f64)>,
    options: &ImageOptions,
) -> Result<Tensor<4>, EngineError> {
    let device = condition.device();
    let images = condition.dims()[0];
    let mut sampler = sampler(model, options)?;
    let timesteps = sampler.timesteps().to_vec();
    let mut draws = Draws::new(options.seed, 0);
    let noise = draws.noise(model.latent_shape(images), &device);
    let (first, mut sample) = match start {
        None => (0, noise),
        Some((latents, strength)) => {
            let level = (strength * model.training_steps() as f64) as usize;
            let first = timesteps
                .partition_point(|t| *t > level)
                .min(timesteps.len() - 1);
            let at = vec![timesteps[first]; images];
            (first, model.add_noise(latents, noise, &at))
        }
    };
    for (index, &timestep) in timesteps.iter().enumerate().skip(first) {
        let output = guided(
            model,
            &sample,
            timestep,
            &condition,
            &visible,
            options.guidance,
        );
        sample = sampler
            .step(index, sample, output, None)
            .map_err(|error| EngineError::Config(error.to_string()))?;
    }
    Ok(sample)
}

/// The prediction with classifier-free guidance, both halves in one batch.
fn guided(
    model: &Deem,
    sample: &Tensor<4>,
    timestep: usize,
    condition: &Tensor<3>,
    visible: &Visible,
    guidance: f64,
) -> Tensor<4> {
    let [images, height, width, channels] = sample.dims();
    if guidance == 1.0 {
        let steps = vec![timestep; images];
        return model.denoise(sample.clone(), &steps, condition.clone(), visible.clone());
    }
    let null = like(model.image_decoder.null(images), condition);
    let both = Tensor::cat(vec![null, condition.clone()], 0);
    let twice = Tensor::cat(vec![sample.clone(), sample.clone()], 0);
    // The unconditional half sees no image either.
    let visible = visible.clone().map(|(features, relative)| {
        let levels = features
            .levels
            .into_iter()
            .map(|level| Tensor::cat(vec![level.clone(), level], 0))
            .collect();
        let relative = Tensor::cat(vec![relative.zeros_like(), relative], 0);
        (ImageFeatures { levels }, relative)
    });
    let output = model.denoise(twice, &vec![timestep; 2 * images], both, visible);
    let half = |range: std::ops::Range<usize>| {
        output
            .clone()
            .slice([range, 0..height, 0..width, 0..channels])
    };
    let (unconditional, conditional) = (half(0..images), half(images..2 * images));
    unconditional.clone() + (conditional - unconditional).mul_scalar(guidance)
}

fn sampler(model: &Deem, options: &ImageOptions) -> Result<Box<dyn Sampler>, EngineError> {
    let noise = model.noise_config().clone();
    let made: Result<Box<dyn Sampler>, _> = match options.sampler {
        SamplerKind::Ddim => Ddim::new(
            &DdimConfig {
                noise,
                ..DdimConfig::stable_diffusion()
            },
            options.steps,
        )
        .map(|s| Box::new(s) as _),
        SamplerKind::DpmSolver => DpmSolver::new(
            &DpmSolverConfig {
                noise,
                ..DpmSolverConfig::stable_diffusion()
            },
            options.steps,
        )
        .map(|s| Box::new(s) as _),
    };
    made.map_err(|error| EngineError::Config(error.to_string()))
}

/// The image that follows a context ending in `<soi>`.
///
/// # Shapes
/// - `hidden` and `target` as in [`Deem::context_condition`]
/// - returns `[1, 3, height, width]` in [0, 1]
///
/// # Errors
/// Those of [`sample_latents`].
pub fn generate_image(
    model: &Deem,
    tokens: &[i64],
    encoded: Option<&EncodedImages>,
    options: &ImageOptions,
) -> Result<Tensor<4>, EngineError> {
    let layout = deem_model::layout::Layout::new(tokens, 1, model.tokens(), model.queries());
    let hidden = model.read(&layout, encoded);
    let condition = model.context_condition(hidden, &layout, &[(0, tokens.len() - 1)], &[false]);
    let visible = encoded.and_then(|encoded| {
        let last = layout.last_visible();
        encoded.features_of(&[last])
    });
    let latents = sample_latents(model, condition, visible, None, options)?;
    Ok(model.decode_latents(latents))
}

/// The restoration view: what the encoder understood of images, drawn by the diffusion model from
/// the images noised to `strength` (the paper's Figures 9 and 10 use 0.65).
///
/// # Shapes
/// - `pixels`: `[images, 3, height, width]`, the diffusion view
/// - returns the same shape
///
/// # Errors
/// Those of [`sample_latents`].
pub fn restore(
    model: &Deem,
    encoded: &EncodedImages,
    pixels: Tensor<4>,
    strength: f64,
    options: &ImageOptions,
) -> Result<Tensor<4>, EngineError> {
    let start = (strength < 1.0).then(|| (model.latents(pixels), strength));
    let condition = encoded.condition.clone();
    let visible = Some(encoded.own_features());
    let latents = sample_latents(model, condition, visible, start, options)?;
    Ok(model.decode_latents(latents))
}

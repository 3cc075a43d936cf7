//! Images from the diffusion model: of a context, or of what the encoder understood of an image.

use burn::tensor::Tensor;
use deem_kernels::precision::like;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::diffusion::{Condition, Diffusion, VisibleImages};
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

/// Told after each denoising step how many are done, of how many; `false` stops.
pub type Watch<'a> = &'a mut dyn FnMut(usize, usize) -> bool;

/// From where sampling begins.
#[allow(clippy::large_enum_variant)] // one a drawing
pub enum Start {
    /// Pure noise of this shape, `[images, height, width, channels]`.
    Noise([usize; 4]),
    /// Latents noised to the given fraction of the schedule.
    Latents(Tensor<4>, f64),
}

/// Samples latents for a condition.
///
/// # Shapes
/// - `null`: the null condition tokens, of the shape of the condition's, for guidance
/// - returns scaled latents `[images, side, side, channels]`
///
/// # Errors
/// `Config` if the sampler refuses the number of steps, `NotDrawn` if `watch` stopped it.
pub fn sample_latents(
    diffusion: &Diffusion,
    condition: Condition,
    null: Tensor<3>,
    start: Start,
    options: &ImageOptions,
    watch: Watch,
) -> Result<Tensor<4>, EngineError> {
    let device = condition.tokens.device();
    let mut sampler = sampler(diffusion, options)?;
    let timesteps = sampler.timesteps().to_vec();
    let mut draws = Draws::new(options.seed, 0);
    let (first, mut sample) = match start {
        Start::Noise(shape) => (0, draws.noise(shape, &device)),
        Start::Latents(latents, strength) => {
            let level = (strength * diffusion.schedule.steps() as f64) as usize;
            let first = timesteps
                .partition_point(|t| *t > level)
                .min(timesteps.len() - 1);
            let at = vec![timesteps[first]; latents.dims()[0]];
            let noise = draws.noise(latents.dims(), &device);
            (first, diffusion.add_noise(latents, noise, &at))
        }
    };
    let guided = Guided::new(condition, null, options.guidance);
    for (index, &timestep) in timesteps.iter().enumerate().skip(first) {
        let output = guided.predict(diffusion, &sample, timestep);
        sample = sampler
            .step(index, sample, output, None)
            .map_err(|error| EngineError::Config(error.to_string()))?;
        if !watch(index + 1 - first, timesteps.len() - first) {
            return Err(EngineError::NotDrawn);
        }
    }
    // A picture would show them as black.
    if !sample.clone().into_data().iter::<f32>().all(f32::is_finite) {
        return Err(EngineError::DrawingNotFinite {
            guidance: options.guidance,
        });
    }
    Ok(sample)
}

/// Classifier-free guidance, both halves in one batch.
struct Guided {
    /// With guidance: of the unconditional half, then of the other.
    condition: Condition,
    /// `None` is no guidance.
    guidance: Option<f64>,
}

impl Guided {
    fn new(condition: Condition, null: Tensor<3>, guidance: f64) -> Self {
        if guidance == 1.0 {
            return Self {
                condition,
                guidance: None,
            };
        }
        let Condition { tokens, visible } = condition;
        let null = like(null, &tokens);
        // The unconditional half sees no image either.
        let visible = visible.map(|VisibleImages { features, relative }| VisibleImages {
            features: ImageFeatures {
                levels: features
                    .levels
                    .into_iter()
                    .map(|level| Tensor::cat(vec![level.clone(), level], 0))
                    .collect(),
            },
            relative: Tensor::cat(vec![relative.zeros_like(), relative], 0),
        });
        Self {
            condition: Condition {
                tokens: Tensor::cat(vec![null, tokens], 0),
                visible,
            },
            guidance: Some(guidance),
        }
    }

    fn predict(&self, diffusion: &Diffusion, sample: &Tensor<4>, timestep: usize) -> Tensor<4> {
        let [images, height, width, channels] = sample.dims();
        let condition = self.condition.clone();
        let Some(guidance) = self.guidance else {
            return diffusion.denoise(sample.clone(), &vec![timestep; images], condition);
        };
        let twice = Tensor::cat(vec![sample.clone(), sample.clone()], 0);
        let output = diffusion.denoise(twice, &vec![timestep; 2 * images], condition);
        let half = |range: std::ops::Range<usize>| {
            output
                .clone()
                .slice([range, 0..height, 0..width, 0..channels])
        };
        let (unconditional, conditional) = (half(0..images), half(images..2 * images));
        unconditional.clone() + (conditional - unconditional).mul_scalar(guidance)
    }
}

fn sampler(diffusion: &Diffusion, options: &ImageOptions) -> Result<Box<dyn Sampler>, EngineError> {
    let noise = diffusion.schedule.config().clone();
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
/// - `tokens`: one sequence, which ends in `<soi>`
/// - `encoded`: its images
/// - returns `[1, 3, height, width]` in [0, 1]
///
/// # Errors
/// Those of [`sample_latents`].
pub fn generate_image(
    model: &Deem,
    tokens: &[i64],
    encoded: Option<&EncodedImages>,
    options: &ImageOptions,
    watch: Watch,
) -> Result<Tensor<4>, EngineError> {
    let layout = model.layout(tokens, 1);
    let hidden = model.read(&layout, encoded);
    let soi = (0, tokens.len() - 1);
    let condition = Condition {
        tokens: model.context_condition(hidden, &layout, &[soi], &[false]),
        visible: encoded.and_then(|encoded| encoded.visible(&[layout.last_visible()])),
    };
    let diffusion = model.diffusion();
    let null = model.image_decoder.null(1);
    let start = Start::Noise(model.latent_shape(1));
    let latents = sample_latents(&diffusion, condition, null, start, options, watch)?;
    Ok(diffusion.decode(latents))
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
    watch: Watch,
) -> Result<Tensor<4>, EngineError> {
    let diffusion = model.diffusion();
    let images = pixels.dims()[0];
    let start = if strength < 1.0 {
        Start::Latents(diffusion.latents(pixels), strength)
    } else {
        Start::Noise(model.latent_shape(images))
    };
    let null = model.image_decoder.null(images);
    let condition = encoded.own_condition();
    let latents = sample_latents(&diffusion, condition, null, start, options, watch)?;
    Ok(diffusion.decode(latents))
}

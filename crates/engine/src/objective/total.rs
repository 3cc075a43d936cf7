//! The training loss: L_NTP + λ L_NIP + λ L_CSR, one forward pass for all three.

use burn::tensor::{Device, Tensor, TensorData};
use deem_data::{Batch, IGNORED};
use deem_kernels as kernels;
use deem_model::clip::levels::Pyramid;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::{Layout, LayoutParts};
use deem_model::mask_extractor::mask_to_grid;
use deem_model::scheduler::TimestepSampler;
use serde::{Deserialize, Serialize};

use crate::train::Counts;

use super::image::count_of_targets;
use super::{Draws, Purpose, feedback_loss, image_targets, next_image_loss, next_token_loss};

/// Weights of the terms and how diffusion noise is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Weight of L_NTP.
    pub text: f64,
    /// λ of L_NIP; 0 skips it.
    pub image: f64,
    /// λ of L_CSR; 0 skips it.
    pub feedback: f64,
    /// Distribution of the feedback's timesteps.
    #[serde(default)]
    pub timesteps: TimestepSampler,
    /// Probability of replacing a context by the null condition.
    #[serde(default = "default_drop")]
    pub condition_dropout: f64,
}

fn default_drop() -> f64 {
    0.1
}

/// The unweighted terms that were computed, `[1]` each.
pub struct Terms {
    /// L_NTP.
    pub text: Option<Tensor<1>>,
    /// L_NIP.
    pub image: Option<Tensor<1>>,
    /// L_CSR.
    pub feedback: Option<Tensor<1>>,
}

impl Terms {
    /// Terms by name, with their weights.
    pub fn weighted(&self, weights: &LossWeights) -> Vec<(&'static str, f64, Tensor<1>)> {
        [
            ("text", weights.text, &self.text),
            ("image", weights.image, &self.image),
            ("feedback", weights.feedback, &self.feedback),
        ]
        .into_iter()
        .filter_map(|(name, weight, term)| Some((name, weight, term.clone()?)))
        .collect()
    }
}

/// Whose noise a batch draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseOf {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the batch's first row in the run.
    pub first_row: u64,
}

/// A host batch on the device, with its structure.
pub struct DeemBatch<'a> {
    /// The host batch.
    pub host: &'a Batch,
    /// Structure of its sequences.
    pub layout: Layout,
    /// `[images, 3, height, width]` in [0, 1], what the encoder sees; `None` without images.
    pub pixels: Option<Tensor<4>>,
    /// `[images, height, width]` region masks.
    pub masks: Option<Tensor<3>>,
    /// `[images, 3, height, width]` in [0, 1], what the diffusion model must restore.
    pub targets: Option<Tensor<4>>,
}

impl<'a> DeemBatch<'a> {
    /// Moves a batch to the model's device.
    ///
    /// # Panics
    /// If the batch was made for another number of visual tokens per image than the model's, or lacks
    /// pixels: the collator and the model belong together.
    pub fn new(host: &'a Batch, model: &Deem, device: &Device) -> Self {
        let images: Vec<_> = host.images.iter().map(|i| (i.row, i.soi)).collect();
        let parts = LayoutParts {
            batch: host.batch,
            tokens: &host.tokens,
            valid: &host.valid,
            documents: &host.document_starts,
            images: &images,
        };
        let layout = Layout::of_parts(&parts, model.tokens(), model.queries())
            .unwrap_or_else(|error| panic!("a batch for another model: {error}"));
        let count = images.len();
        let view = |pixels: &[f32], side: usize| {
            (count > 0 && !pixels.is_empty()).then(|| {
                let data = TensorData::new(pixels.to_vec(), [count, 3, side, side]);
                Tensor::<4>::from_data(data, device)
            })
        };
        let masks = host.masks.as_ref().filter(|_| count > 0).map(|masks| {
            let side = host.encoder_side;
            Tensor::<3>::from_data(TensorData::new(masks.clone(), [count, side, side]), device)
        });
        Self {
            pixels: view(&host.encoder_pixels, host.encoder_side),
            targets: view(&host.diffusion_pixels, host.diffusion_side),
            masks,
            layout,
            host,
        }
    }

    /// What the encoder makes of the images; `None` without images.
    pub fn encode(&self, model: &Deem) -> Option<EncodedImages> {
        self.encode_through(model, |features| features)
    }

    /// As [`Self::encode`], from what `through` makes of the image tower's features.
    pub fn encode_through(
        &self,
        model: &Deem,
        through: impl FnOnce(Pyramid) -> Pyramid,
    ) -> Option<EncodedImages> {
        let pixels = self.pixels.clone()?;
        Some(model.encode_images_through(pixels, self.masks.clone(), through))
    }
}

/// How many values the terms of [`deem_loss`] average over: words, pictures, and the latent cells in which feedback
/// counts, of a grid of the given height and width.
pub fn deem_counts(batch: &Batch, [height, width]: [usize; 2]) -> Counts {
    let first = |i: usize| i.is_multiple_of(batch.seq.max(1));
    let words = batch.labels.iter().enumerate();
    let words = words.filter(|(i, label)| !first(*i) && **label != IGNORED);
    let cells = match &batch.masks {
        Some(masks) if !batch.images.is_empty() => {
            let side = batch.encoder_side;
            let shape = [batch.images.len(), side, side];
            let masks = TensorData::new(masks.clone(), shape);
            let masks = Tensor::<3>::from_data(masks, &Device::flex());
            let inside = kernels::sum(mask_to_grid(masks, height, width)).into_data();
            inside.iter::<f64>().sum()
        }
        _ => (batch.images.len() * height * width) as f64,
    };
    Counts::of([
        ("text", words.count() as f64),
        ("image", count_of_targets(batch) as f64),
        ("feedback", cells),
    ])
}

/// The terms of the training loss that `weights` asks for, of what the encoder made of the batch's images. Noise,
/// timesteps and condition dropout of a picture are drawn for its row.
pub fn deem_loss(
    model: &Deem,
    batch: &DeemBatch,
    encoded: Option<&EncodedImages>,
    weights: &LossWeights,
    noise: NoiseOf,
    device: &Device,
) -> Terms {
    let draws = |purpose| Draws::of_pictures(noise.seed, purpose, noise.first_row, batch.host);
    let mut terms = Terms {
        text: None,
        image: None,
        feedback: None,
    };
    let diffusion = model.diffusion();
    let steps = diffusion.schedule.steps();
    let latents = match (
        &batch.targets,
        weights.feedback > 0.0 || weights.image > 0.0,
    ) {
        (Some(targets), true) => Some(diffusion.latents(targets.clone())),
        _ => None,
    };
    if let (Some(encoded), Some(latents), true) = (encoded, &latents, weights.feedback > 0.0) {
        let mut draws = draws(Purpose::Feedback);
        let noise = draws.noise(latents.dims(), device);
        let timesteps = draws.timesteps(weights.timesteps, latents.dims()[0], steps);
        let mask = batch
            .masks
            .clone()
            .map(|mask| mask_to_grid(mask, latents.dims()[1], latents.dims()[2]).unsqueeze_dim(3));
        terms.feedback = Some(feedback_loss(
            &diffusion,
            encoded.own_condition(),
            latents.clone(),
            noise,
            &timesteps,
            mask,
        ));
    }
    if weights.text > 0.0 || weights.image > 0.0 {
        let hidden = model.read(&batch.layout, encoded);
        if weights.text > 0.0 {
            terms.text = Some(next_token_loss(
                model,
                hidden.clone(),
                &batch.host.labels,
                device,
            ));
        }
        if let (Some(encoded), Some(latents), true) = (encoded, latents, weights.image > 0.0) {
            let counted: Vec<bool> = batch.host.images.iter().map(|i| i.counted_nip).collect();
            let targets = image_targets(&batch.layout, &counted);
            if !targets.is_empty() {
                let count = targets.len();
                let rows: Vec<i64> = targets.iter().map(|i| *i as i64).collect();
                let latents = latents.select(0, Layout::int(rows, [count], device));
                let mut draws = draws(Purpose::Image).select(&targets);
                let noise = draws.noise(latents.dims(), device);
                let timesteps = draws.timesteps(TimestepSampler::Uniform, count, steps);
                let drop = draws.events(weights.condition_dropout, count);
                terms.image = Some(next_image_loss(
                    model,
                    hidden,
                    &batch.layout,
                    encoded,
                    &targets,
                    latents,
                    noise,
                    &timesteps,
                    &drop,
                    device,
                ));
            }
        }
    }
    terms
}

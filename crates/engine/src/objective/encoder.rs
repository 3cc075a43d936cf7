//! The objective of a bare encoder: a weighted sum of terms, one condition and one draw of noise for all of them.

use std::cell::OnceCell;

use burn::tensor::{Device, Tensor};
use deem_model::encoder_feedback::{ConditionTokens, EncoderFeatures, FeedbackModel};
use deem_model::position::{Filter, resize};
use deem_model::scheduler::TimestepSampler;
use serde::{Deserialize, Serialize};

use super::Draws;
use super::condition::{condition_features, drop_conditions, told};
use super::denoiser::{Denoiser, Noised, denoising_loss};
use super::inversion::embedding_condition;
use super::noise_contrast::noise_contrast;
use super::retention::{image_retention, text_retention};

/// One term, as `[[stages.objectives]]` says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Denoising error under the condition (DEEM, DIVA; with a light denoiser on the straight path GenHancer).
    Feedback {
        /// Factor.
        weight: f64,
    },
    /// Denoising error of a generator that draws from embeddings (un2CLIP).
    Inversion {
        /// Factor.
        weight: f64,
        /// Standard deviation of the noise on embeddings of unit variance.
        #[serde(default)]
        noise: f64,
    },
    /// Contrast of predicted noise (DCR).
    Contrast {
        /// Factor.
        weight: f64,
        /// τ.
        #[serde(default = "tenth")]
        temperature: f64,
        /// Other pictures of the batch that each is contrasted with; 0: all. The denoiser runs once more for each.
        #[serde(default)]
        negatives: usize,
        /// Side of a crop, as a share of the picture's, under whose condition the prediction must be alike, too;
        /// 0: none.
        ///
        /// Differs from: DCR, which also mirrors and recolours the second view; what is left and what is red must not
        /// be forgotten here.
        #[serde(default)]
        second_view: f64,
    },
    /// Similarities of the original encoder.
    Retention {
        /// Factor.
        weight: f64,
        /// Factor on that of pictures and texts; needs `texts`.
        #[serde(default)]
        image_text: f64,
        /// Factor on that of pictures among each other.
        #[serde(default = "one")]
        image_image: f64,
        /// File with a text a line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        texts: Option<String>,
    },
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

impl Objective {
    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Feedback { .. } => "feedback",
            Self::Inversion { .. } => "inversion",
            Self::Contrast { .. } => "contrast",
            Self::Retention { .. } => "retention",
        }
    }

    /// Factor on it.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Feedback { weight }
            | Self::Inversion { weight, .. }
            | Self::Contrast { weight, .. }
            | Self::Retention { weight, .. } => *weight,
        }
    }

    /// Checks every number against its range, and the condition that it needs.
    ///
    /// # Errors
    /// The field, its range and what was found.
    pub fn check(&self, condition: ConditionTokens, batch: usize) -> Result<(), String> {
        let from_zero = |field: &str, found: f64| match found.is_finite() && found >= 0.0 {
            true => Ok(()),
            false => Err(format!(
                "{field}: expected a number from 0 on, found {found}"
            )),
        };
        from_zero("weight", self.weight())?;
        match self {
            Self::Feedback { .. } => Ok(()),
            Self::Inversion { noise, .. } => {
                from_zero("noise", *noise)?;
                match condition {
                    ConditionTokens::Embedding => Ok(()),
                    other => Err(format!(
                        "kind: \"inversion\" draws from embeddings: expected model.condition = \"embedding\", found {other:?}"
                    )),
                }
            }
            Self::Contrast {
                temperature,
                second_view,
                ..
            } => {
                if !(temperature.is_finite() && *temperature > 0.0) {
                    return Err(format!(
                        "temperature: expected a number above 0, found {temperature}"
                    ));
                }
                if !(0.0..=1.0).contains(second_view) {
                    return Err(format!(
                        "second_view: expected a share from 0 to 1, found {second_view}"
                    ));
                }
                match batch {
                    0 | 1 => Err(format!(
                        "kind: \"contrast\" needs other pictures: expected batch from 2 on, found {batch}"
                    )),
                    _ => Ok(()),
                }
            }
            Self::Retention {
                image_text,
                image_image,
                texts,
                ..
            } => {
                from_zero("image_text", *image_text)?;
                from_zero("image_image", *image_image)?;
                match texts {
                    None if *image_text > 0.0 => Err(
                        "texts: expected a file with a text a line, as image_text is not 0".into(),
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// How a stage's condition and noise are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Distribution of timesteps.
    pub timesteps: TimestepSampler,
    /// Share of patches that are told, in [0, 1].
    pub density: f64,
    /// Probability that a picture's condition is dropped.
    pub condition_dropout: f64,
}

/// Pictures on the device.
pub struct Pictures {
    /// `[pictures, 3, side, side]` in [0, 1], what the encoder sees
    pub seen: Tensor<4>,
    /// The same of what is to be restored
    pub restored: Tensor<4>,
}

/// What the original encoder says, for retention.
pub struct Original<'a> {
    /// `[pictures, embedding]` of the batch
    pub embeds: Tensor<2>,
    /// `[texts, embedding]`, of unit length
    pub texts: Option<&'a Tensor<2>>,
    /// Inverse temperature.
    pub scale: f64,
}

/// The unweighted terms of a batch, in the order of `objectives`; those of weight 0 are left out.
///
/// `draws` supplies noise, timesteps, patches, condition dropout, and then what each term draws.
///
/// # Panics
/// If retention is asked for without `original`, or of texts without them.
pub fn encoder_terms(
    model: &FeedbackModel,
    pictures: &Pictures,
    objectives: &[Objective],
    sampling: Sampling,
    original: Option<&Original>,
    draws: &mut Draws,
    device: &Device,
) -> Vec<(&'static str, f64, Tensor<1>)> {
    let features = model.see(pictures.seen.clone());
    let denoiser = Denoiser {
        diffusion: model.diffusion(),
        path: model.path(),
    };
    let asked: Vec<&Objective> = objectives.iter().filter(|o| o.weight() > 0.0).collect();
    let restores = asked
        .iter()
        .any(|o| !matches!(o, Objective::Retention { .. }));
    let noised = restores.then(|| {
        let latents = denoiser
            .diffusion
            .latents(pictures.restored.clone())
            .detach();
        let noise = draws.noise(latents.dims(), device);
        let count = latents.dims()[0];
        let timesteps = draws.timesteps(sampling.timesteps, count, denoiser.steps());
        denoiser.noised(latents, noise, &timesteps)
    });
    let [count, places, _] = features.places.dims();
    let kept = draws.choices(count, places, told(places, sampling.density));
    let dropped = draws.events(sampling.condition_dropout, count);
    let tokens = |features: &EncoderFeatures| {
        let told = condition_features(features, model.condition(), &kept);
        drop_conditions(model.project(told), model.null_condition.val(), &dropped)
    };
    // Several terms ask for what is predicted under the pictures' own conditions.
    let own = OnceCell::new();
    let own = |noised: &Noised| {
        let predicted = || {
            let tokens = tokens(&features);
            (denoiser.predict(noised, tokens.clone()), tokens)
        };
        own.get_or_init(predicted).clone()
    };
    let mut terms = Vec::with_capacity(asked.len());
    for objective in asked {
        let noised = || noised.as_ref().expect("of every term that restores");
        let term = match objective {
            Objective::Feedback { .. } => denoising_loss(noised(), own(noised()).0),
            Objective::Inversion { noise, .. } => {
                let shape = features.embeds.dims();
                let drawn = (*noise > 0.0).then(|| draws.noise(shape, device));
                let told = embedding_condition(features.embeds.clone(), drawn, *noise);
                let told = model.project(told);
                let told = drop_conditions(told, model.null_condition.val(), &dropped);
                denoising_loss(noised(), denoiser.predict(noised(), told))
            }
            Objective::Contrast {
                temperature,
                negatives,
                second_view,
                ..
            } => {
                let second = (*second_view > 0.0).then(|| {
                    let crop = crop(&pictures.seen, *second_view, draws);
                    tokens(&model.see(crop))
                });
                let (predicted, tokens) = own(noised());
                let (noised, negatives) = (noised(), *negatives);
                noise_contrast(
                    &denoiser,
                    noised,
                    predicted,
                    tokens,
                    second,
                    *temperature,
                    negatives,
                )
            }
            Objective::Retention {
                image_text,
                image_image,
                ..
            } => {
                let original = original.expect("the original encoder, as retention is asked for");
                let embeds = || features.embeds.clone();
                let images = image_retention(embeds(), original.embeds.clone(), device);
                let mut sum = images.mul_scalar(*image_image);
                if *image_text > 0.0 {
                    let texts = original
                        .texts
                        .expect("texts, as their retention is asked for");
                    let before = original.embeds.clone();
                    let text = text_retention(embeds(), before, texts.clone(), original.scale);
                    sum = sum + text.mul_scalar(*image_text);
                }
                sum
            }
        };
        terms.push((objective.name(), objective.weight(), term));
    }
    terms
}

/// A square of a share of the side, one place for all pictures, resampled to the size of the whole.
fn crop(pixels: &Tensor<4>, share: f64, draws: &mut Draws) -> Tensor<4> {
    let [_, _, height, width] = pixels.dims();
    let part = |side: usize| ((side as f64 * share).round() as usize).clamp(1, side);
    let (rows, columns) = (part(height), part(width));
    let [top, left] = [height - rows, width - columns].map(|room| draws.below(room + 1));
    let part = pixels.clone().narrow(2, top, rows).narrow(3, left, columns);
    let resized = resize(part.permute([0, 2, 3, 1]), [height, width], Filter::Bicubic);
    resized.permute([0, 3, 1, 2]).clamp(0.0, 1.0)
}

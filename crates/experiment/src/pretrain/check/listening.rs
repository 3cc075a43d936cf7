//! Does the diffusion model listen? How much its denoising error rises when one attribute of its caption is made wrong.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::Dice;
use deem_data::text::TextTokenizer;
use deem_data::world::SceneFeed;
use deem_data::world::scene::{Attribute, Facts};
use deem_metrics::statistics::Interval;
use deem_model::clip::text::ClipText;
use deem_model::diffusion::{Condition, Diffusion};
use deem_model::scheduler::{NoiseSchedule, TimestepSampler};

use super::{CHUNK, SCENES, SEED, interval};
use crate::built_in::BuiltIn;
use crate::pretrain::clip::{encode_text, pixels};
use crate::pretrain::diffusion::{CaptionForm, TextToImage, text_condition};
use crate::standins::StandIns;
use deem_engine::EngineError;
use deem_engine::objective::Draws;

/// Mean squared denoising error of each picture (`[pictures]`), same noise and timesteps for all
/// captions of a picture.
fn errors(
    diffusion: &Diffusion,
    text_encoder: &ClipText,
    tokenizer: &TextTokenizer,
    form: CaptionForm,
    latents: &Tensor<4>,
    captions: &[String],
    seed: u64,
) -> Result<Vec<f64>, EngineError> {
    let device = latents.device();
    let mut draws = Draws::new(SEED, seed);
    let noise = draws.noise(latents.dims(), &device);
    let count = captions.len();
    let timesteps = draws.timesteps(TimestepSampler::Squeezed, count, diffusion.schedule.steps());
    let rows = captions
        .iter()
        .map(|caption| encode_text(tokenizer, caption))
        .collect::<Result<Vec<_>, _>>()?;
    let condition = text_condition(text_encoder, &rows, form, &device);
    let condition = Condition::of_tokens(condition);
    let error = diffusion
        .error(latents.clone(), noise, &timesteps, condition)
        .reshape([count as i32, -1])
        .mean_dim(1);
    Ok(error.into_data().iter::<f64>().collect())
}

/// Denoising error with true captions, and its rise for each attribute made wrong.
pub(super) fn listening(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<(f64, Vec<(Attribute, Interval)>), EngineError> {
    let preset = standins.preset();
    let model = TextToImage {
        text_encoder: standins.text_encoder(device)?,
        unet: standins.unet(device)?,
    }
    .no_grad();
    let autoencoder = standins.autoencoder(device)?.no_grad();
    let schedule = NoiseSchedule::new(&preset.model.scheduler)
        .map_err(|error| EngineError::Config(error.to_string()))?;
    let diffusion = model.diffusion(&autoencoder, &schedule);
    let captioner = data.world.captioner();
    let side = preset.model.diffusion_size as u32;
    let mut base = Vec::new();
    let mut rises: Vec<(Attribute, Vec<f64>)> = ATTRIBUTES.map(|a| (a, Vec::new())).into();
    for start in (0..SCENES).step_by(CHUNK) {
        let pairs = (start..start + CHUNK as u64)
            .map(|i| feed.pair(i, true))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<_> = pairs.iter().map(|p| p.image.clone()).collect();
        let latents = diffusion.latents(pixels(&pictures, side, device));
        // The same words for the true and the wrong caption.
        let caption = |facts: &Facts, index: usize| {
            captioner.dense(facts, &mut Dice::new(SEED, "wording", index as u64))
        };
        let truth: Vec<String> = pairs
            .iter()
            .enumerate()
            .map(|(i, p)| caption(&p.facts, i))
            .collect();
        let error = |captions: &[String]| {
            errors(
                &diffusion,
                &model.text_encoder,
                &data.tokenizer,
                standins.experiment().captions(&data.tokenizer),
                &latents,
                captions,
                start,
            )
        };
        let right = error(&truth)?;
        base.extend(&right);
        for (attribute, rise) in &mut rises {
            let told: Vec<Facts> = pairs
                .iter()
                .map(|pair| match attribute {
                    Attribute::Structure => pair.facts.unplaced(),
                    _ => pair.facts.clone(),
                })
                .collect();
            let (truth, right) = if *attribute == Attribute::Structure {
                let truth: Vec<String> = told
                    .iter()
                    .enumerate()
                    .map(|(i, facts)| caption(facts, i))
                    .collect();
                let right = error(&truth)?;
                (truth, right)
            } else {
                (truth.clone(), right.clone())
            };
            let wrong: Vec<Option<String>> = told
                .iter()
                .enumerate()
                .map(|(i, facts)| {
                    let mut dice = Dice::new(SEED, "wrong", start + i as u64);
                    let facts = facts.made_wrong(*attribute, feed.sampler().pool(), &mut dice)?;
                    let text = caption(&facts, i);
                    (text != truth[i]).then_some(text)
                })
                .collect();
            let captions: Vec<String> = wrong
                .iter()
                .zip(&truth)
                .map(|(wrong, truth)| wrong.clone().unwrap_or_else(|| truth.clone()))
                .collect();
            let error = error(&captions)?;
            for (i, wrong) in wrong.iter().enumerate() {
                if wrong.is_some() {
                    rise.push(error[i] - right[i]);
                }
            }
        }
    }
    let base = base.iter().sum::<f64>() / base.len() as f64;
    let rises = rises
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(attribute, values)| (attribute, interval(&values)))
        .collect();
    Ok((base, rises))
}

/// Attributes of the listening test.
const ATTRIBUTES: [Attribute; 7] = [
    Attribute::Presence,
    Attribute::Quantity,
    Attribute::Position,
    Attribute::Orientation,
    Attribute::Colour,
    Attribute::Background,
    Attribute::Structure,
];

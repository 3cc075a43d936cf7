//! Does the diffusion model listen? How much its denoising error rises when one attribute of its caption is made wrong.

use burn::tensor::Device;
use deem_data::Dice;
use deem_data::world::SceneFeed;
use deem_data::world::scene::{Attribute, Facts};
use deem_metrics::statistics::Interval;
use deem_model::scheduler::TimestepSampler;

use super::{CHUNK, SCENES, SEED, interval};
use crate::built_in::BuiltIn;
use crate::pretrain::CaptionedDiffusion;
use crate::standins::StandIns;
use deem_engine::EngineError;
use deem_engine::objective::Draws;

/// Denoising error with true captions, and its rise for each attribute made wrong.
pub(super) fn listening(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<(f64, Vec<(Attribute, Interval)>), EngineError> {
    let model = CaptionedDiffusion::of(standins, &data.tokenizer, device)?;
    let captioner = data.world.captioner();
    let mut base = Vec::new();
    let mut rises: Vec<(Attribute, Vec<f64>)> = ATTRIBUTES.map(|a| (a, Vec::new())).into();
    for start in (0..SCENES).step_by(CHUNK) {
        let pairs = (start..start + CHUNK as u64)
            .map(|i| feed.pair(i, true))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures: Vec<_> = pairs.iter().map(|p| p.image.clone()).collect();
        let latents = model.diffusion().latents(model.pixels(&pictures));
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
            let draws = Draws::new(SEED, start);
            model.errors(&latents, captions, TimestepSampler::Squeezed, draws)
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

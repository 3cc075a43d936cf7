//! Between which values the feedback loss can fall: what the diffusion model makes of a picture that it is told everything
//! of, and of one that it is told nothing of.

use burn::tensor::Device;
use deem_data::world::SceneFeed;
use deem_engine::EngineError;
use deem_engine::objective::Draws;
use deem_model::scheduler::TimestepSampler;

use crate::built_in::BuiltIn;
use crate::pretrain::CaptionedDiffusion;
use crate::standins::StandIns;

/// Pictures of each kind.
const PICTURES: u64 = 192;
/// Pictures computed together.
const CHUNK: usize = 32;
/// Seed of the pictures; training uses small seeds.
const SEED: u64 = 0x00b0_0bd5;

/// Denoising errors of stage 1's pictures, in the unit of the feedback loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedbackBounds {
    /// Told what a caption can say of them. Visual tokens can say more, a style for example.
    pub told: f64,
    /// Told nothing.
    pub untold: f64,
}

/// Measures both on pictures as stage 1 shows them, named and unnamed ones in its shares.
///
/// # Errors
/// Stand-ins that are missing or do not fit.
pub fn feedback_bounds(
    standins: &StandIns,
    data: &BuiltIn,
    timesteps: TimestepSampler,
    device: &Device,
) -> Result<FeedbackBounds, EngineError> {
    let model = CaptionedDiffusion::of(standins, &data.tokenizer, device)?;
    let named = errors(&model, &data.feed("alignment", SEED)?, timesteps)?;
    let design = data.world.design();
    let (scenes, side) = (design.scenes.clone(), data.resolution());
    let web = data.world.web_feed(scenes, "alignment-web", SEED, side)?;
    let unnamed = errors(&model, &web, timesteps)?;
    let share = f64::from(design.web_pictures);
    let mixed = |named: f64, unnamed: f64| (1.0 - share) * named + share * unnamed;
    Ok(FeedbackBounds {
        told: mixed(named.told, unnamed.told),
        untold: mixed(named.untold, unnamed.untold),
    })
}

fn errors(
    model: &CaptionedDiffusion,
    feed: &SceneFeed,
    timesteps: TimestepSampler,
) -> Result<FeedbackBounds, EngineError> {
    let [mut told, mut untold] = [0.0; 2];
    for start in (0..PICTURES).step_by(CHUNK) {
        let (mut pictures, mut captions) = (Vec::new(), Vec::new());
        for index in start..start + CHUNK as u64 {
            let pair = feed.pair(index, true)?;
            pictures.push(pair.image);
            captions.push(pair.caption);
        }
        let latents = model.diffusion().latents(model.pixels(&pictures));
        let error = |captions: &[String]| -> Result<f64, EngineError> {
            let errors = model.errors(&latents, captions, timesteps, Draws::new(SEED, start))?;
            Ok(errors.iter().sum::<f64>() / PICTURES as f64)
        };
        told += error(&captions)?;
        untold += error(&vec![String::new(); CHUNK])?;
    }
    Ok(FeedbackBounds { told, untold })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn words_help_the_shipped_diffusion_model() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
        let standins = StandIns::open(&assets, &[]).unwrap();
        let (data, device) = (standins.data().unwrap(), Device::flex());
        let bounds = |timesteps| feedback_bounds(&standins, &data, timesteps, &device).unwrap();
        let squeezed = bounds(TimestepSampler::Squeezed);
        assert!(
            squeezed.told > 0.0 && squeezed.told < squeezed.untold,
            "{squeezed:?}"
        );
        // The error is that of the noise, which is hardest to tell from a picture where there is little of it.
        let uniform = bounds(TimestepSampler::Uniform);
        assert!(uniform.told > squeezed.told, "{uniform:?} {squeezed:?}");
    }
}

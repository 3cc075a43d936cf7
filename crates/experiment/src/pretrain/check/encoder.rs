//! What the encoder knows by name: single things by style, and things in scenes.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_data::world::corpus::{Part, Role};
use deem_data::world::scene::{Facts, SceneConfig};
use deem_data::world::{Casting, SceneFeed};
use deem_metrics::statistics::Interval;

use super::probe::Probe;
use super::{CHUNK, SCENES, SEED, percent};
use crate::built_in::BuiltIn;
use crate::pretrain::Clip;
use crate::pretrain::clip::{class_embeddings, embed};
use crate::standins::StandIns;
use deem_engine::EngineError;

/// Scenes that the noun probe is fitted to.
const FITTED: u64 = 16_384;

/// What the encoder knows of scenes with several things, captioned styles.
#[derive(Clone, Debug)]
pub struct InScenes {
    /// How often the best-fitting noun is that of the main thing, in percent.
    pub main_thing: Interval,
    /// How often the noun that a linear probe finds likeliest is of something that is there, in percent.
    pub noun_probe: Interval,
}

/// Drawings of one kind, and what a card calls them.
type Row = (&'static str, Role, Casting);

/// Zero-shot accuracy in percent on single upright things, by what is shown.
pub(super) fn zero_shot(
    standins: &StandIns,
    data: &BuiltIn,
    device: &Device,
) -> Result<Vec<(&'static str, Interval)>, EngineError> {
    let design = data.world.design();
    let rows: [Row; 4] = [
        ("captioned styles", Role::Train, Casting::Captioned),
        (
            "their reserved drawings",
            Role::Validation,
            Casting::Captioned,
        ),
        ("web styles", Role::Validation, Casting::Web),
        ("the never-seen style", Role::Validation, Casting::NeverSeen),
    ];
    let single = SceneConfig {
        single: 1.0,
        turned: 0.0,
        tinted: 0.0,
        ..design.scenes.clone()
    };
    let side = data.resolution();
    let split = data.world.split();
    rows.iter()
        .map(|(name, role, casting)| {
            let pool = data.world.pool(*role, |drawing| {
                let known = split.part(drawing.concept) == Part::Train;
                known && design.casting(drawing.style) == *casting
            });
            let feed = data.world.feed(pool, single.clone(), "gate", SEED, side)?;
            Ok((*name, accuracy(standins, data, &feed, device, &Facts::has)?))
        })
        .collect()
}

/// How often the noun that fits a picture best is right, in percent.
fn accuracy(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
    is_right: &dyn Fn(&Facts, usize) -> bool,
) -> Result<Interval, EngineError> {
    let clip = standins.clip(device)?.no_grad();
    let texts = class_embeddings(&clip, data, device)?;
    let (images, facts) = embedded(&clip, feed, 0..SCENES, device)?;
    let scores = deem_kernels::linear(images, texts, None);
    let best = scores.argmax(1).into_data();
    let best = best.iter::<i64>().map(|class| class as usize);
    let right: Vec<bool> = facts
        .iter()
        .zip(best)
        .map(|(facts, best)| is_right(facts, best))
        .collect();
    Ok(percent(&right))
}

/// Embeddings of scenes of a feed, `[scenes, width]`, and what they show; the pictures are dropped as they are seen.
fn embedded(
    clip: &Clip,
    feed: &SceneFeed,
    scenes: Range<u64>,
    device: &Device,
) -> Result<(Tensor<2>, Vec<Facts>), EngineError> {
    let (mut rows, mut facts) = (Vec::new(), Vec::new());
    for start in scenes.step_by(CHUNK) {
        let pairs = (start..start + CHUNK as u64)
            .map(|i| feed.pair(i, false))
            .collect::<Result<Vec<_>, _>>()?;
        let (pictures, shown): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(|pair| (pair.image, pair.facts))
            .unzip();
        rows.push(embed(clip, &pictures, feed.resolution(), device));
        facts.extend(shown);
    }
    Ok((Tensor::cat(rows, 0), facts))
}

/// Scenes of two and three things in captioned styles; `None` where the design singles none out.
pub(super) fn in_scenes(
    standins: &StandIns,
    data: &BuiltIn,
    device: &Device,
) -> Result<Option<InScenes>, EngineError> {
    let design = data.world.design();
    if design.scenes.others >= 1.0 {
        return Ok(None);
    }
    let scenes = SceneConfig {
        single: 0.0,
        objects: [0.0, 0.5, 0.5, 0.0, 0.0],
        groups: [0.0, 0.6, 0.4],
        ..design.scenes.clone()
    };
    let pool = data.world.pool(Role::Train, |drawing| {
        design.casting(drawing.style) == Casting::Captioned
    });
    let feed = data
        .world
        .feed(pool, scenes, "gate scenes", SEED, data.resolution())?;
    let main_thing = accuracy(standins, data, &feed, device, &|facts, best| {
        facts.groups[facts.main].concept == best
    })?;
    Ok(Some(InScenes {
        main_thing,
        noun_probe: noun_probe(standins, data, &feed, device)?,
    }))
}

/// Fits a linear probe to the embeddings of scenes, and asks of other scenes whether the noun that scores best is of
/// something that is there.
fn noun_probe(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<Interval, EngineError> {
    let clip = standins.clip(device)?.no_grad();
    let concepts = data.world.corpus().concepts().len();
    let (rows, facts) = embedded(&clip, feed, SCENES..SCENES + FITTED, device)?;
    let shown = facts.iter().flat_map(|facts| {
        (0..concepts).map(move |concept| f32::from(u8::from(facts.has(concept))))
    });
    let shown = TensorData::new(shown.collect(), [facts.len(), concepts]);
    let words = class_embeddings(&clip, data, device)? * clip.scale().unsqueeze();
    let probe = Probe::fit(rows, Tensor::from_data(shown, device), words);
    let (rows, facts) = embedded(&clip, feed, 0..SCENES, device)?;
    let right: Vec<bool> = probe
        .best(rows)
        .into_iter()
        .zip(&facts)
        .map(|(best, facts)| facts.has(best))
        .collect();
    Ok(percent(&right))
}

//! What the warm start says of pictures: single objects by name, and open questions about every attribute.

use burn::module::Module;
use burn::tensor::Device;
use deem_data::text::{caption_prompt, question_prompt};
use deem_data::world::corpus::Role;
use deem_data::world::scene::{Attribute, Form, QuestionMix, Questioner, SceneConfig};
use deem_data::world::{Casting, SceneFeed};
use deem_data::{Dice, Sample, SampleImage, Segment};
use deem_metrics::answer::{ParseMode, exact_match};
use deem_metrics::statistics::Interval;

use super::{CHUNK, SCENES, SEED, percent};
use crate::built_in::BuiltIn;
use crate::shuffled_images::replies;
use crate::standins::StandIns;
use deem_engine::EngineError;
use deem_engine::evaluate::Runner;
use deem_engine::generate::TextOptions;

/// Questions of each attribute.
const QUESTIONS: usize = 96;
/// Most tokens of a caption, and of an answer.
const LONGEST: [usize; 2] = [24, 4];

/// What the connected model says of pictures in captioned styles.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How often the caption of a single object has its noun, in percent.
    pub named: Interval,
    /// How often open questions about an attribute are answered right, in percent.
    pub answered: Vec<(Attribute, Interval)>,
}

/// Attributes with open questions.
const ATTRIBUTES: [Attribute; 6] = [
    Attribute::Quantity,
    Attribute::Colour,
    Attribute::Position,
    Attribute::Orientation,
    Attribute::Background,
    Attribute::Structure,
];

/// Asks the model after the warm start.
pub(super) fn reading(
    standins: &StandIns,
    data: &BuiltIn,
    device: &Device,
) -> Result<Reading, EngineError> {
    let preset = standins.preset();
    let model = standins.connected(device)?.no_grad();
    let runner = Runner::new(
        &model,
        data.tokenizer.clone(),
        data.resolution(),
        preset.max_tokens,
        CHUNK,
        device.clone(),
    );
    let design = data.world.design();
    let feed = |scenes| {
        let pool = data.world.pool(Role::Train, |drawing| {
            design.casting(drawing.style) == Casting::Captioned
        });
        data.world
            .feed(pool, scenes, "gate reading", SEED, data.resolution())
    };
    let single = SceneConfig {
        single: 1.0,
        ..design.scenes.clone()
    };
    let named = named(&runner, &feed(single)?)?;
    let scenes = feed(design.scenes.clone())?;
    let answered = ATTRIBUTES
        .into_iter()
        .map(|attribute| Ok((attribute, answered(&runner, &scenes, attribute)?)))
        .collect::<Result<_, EngineError>>()?;
    Ok(Reading { named, answered })
}

fn sample(image: SampleImage, segments: Vec<Segment>) -> Sample {
    Sample {
        id: image.id.clone(),
        segments,
        images: vec![image],
        provenance: Vec::new(),
    }
}

fn named(runner: &Runner<'_>, feed: &SceneFeed) -> Result<Interval, EngineError> {
    let (mut samples, mut nouns) = (Vec::new(), Vec::new());
    for index in 0..SCENES {
        let pair = feed.pair(index, true)?;
        let noun = feed.captioner().noun(pair.facts.groups[0].concept);
        nouns.push(noun.to_owned());
        let image = SampleImage {
            id: pair.id,
            image: pair.image,
            mask: None,
        };
        samples.push(sample(image, caption_prompt(0)));
    }
    let replies = replies(runner, &samples, &TextOptions::longest(LONGEST[0]), &|| {
        false
    })?;
    let right: Vec<bool> = replies
        .iter()
        .zip(&nouns)
        .map(|(reply, noun)| reply.text.split_whitespace().any(|word| word == noun))
        .collect();
    Ok(percent(&right))
}

fn answered(
    runner: &Runner<'_>,
    feed: &SceneFeed,
    attribute: Attribute,
) -> Result<Interval, EngineError> {
    let questioner = Questioner::new(feed.captioner().clone(), QuestionMix::default());
    let (mut samples, mut truths) = (Vec::new(), Vec::new());
    let mut index = 0;
    while samples.len() < QUESTIONS {
        let pair = feed.pair(index, true)?;
        let mut dice = Dice::new(SEED, "gate question", index);
        index += 1;
        let pool = feed.sampler().pool();
        let asked = questioner.ask_about(attribute, Form::Open, &pair.facts, pool, &mut dice);
        let Some(question) = asked else { continue };
        let image = SampleImage {
            id: pair.id,
            image: pair.image,
            mask: None,
        };
        samples.push(sample(image, question_prompt(0, &question.prompt())));
        truths.push(question.answer);
    }
    let replies = replies(runner, &samples, &TextOptions::longest(LONGEST[1]), &|| {
        false
    })?;
    let right: Vec<bool> = replies
        .iter()
        .zip(&truths)
        .map(|(reply, truth)| exact_match(&reply.text, truth, ParseMode::Strict))
        .collect();
    Ok(percent(&right))
}

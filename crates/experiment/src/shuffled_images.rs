//! Does the model look? The accuracy on attribute questions with their own images and with the images
//! of other questions: without a connection between image and answer both are equal.

use deem_data::text::question_prompt;
use deem_data::world::corpus::Role;
use deem_data::world::scene::{Attribute, Form, QuestionMix, Questioner};
use deem_data::{Dice, Sample, SampleImage};
use deem_metrics::answer::{ParseMode, exact_match};
use deem_metrics::statistics::Scored;

use crate::built_in::BuiltIn;
use deem_engine::EngineError;
use deem_engine::evaluate::{Reply, Runner};
use deem_engine::generate::TextOptions;

/// Attributes asked about; presence and main object are the other benchmarks' business.
const ATTRIBUTES: [Attribute; 5] = [
    Attribute::Quantity,
    Attribute::Colour,
    Attribute::Position,
    Attribute::Orientation,
    Attribute::Background,
];

/// Answers, right or wrong, to `count` attribute questions with their own images, and with each
/// question's image exchanged for the next one's. The questions are the same for all seeds; `interrupted` is asked
/// now and then.
///
/// # Errors
/// Those of making and answering the questions; `Stopped` once `interrupted` says so.
pub fn shuffled_images(
    runner: &Runner,
    data: &BuiltIn,
    role: Role,
    side: u32,
    count: usize,
    seed: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<[Vec<Scored>; 2], EngineError> {
    let scenes = data.world.design().scenes.clone();
    let pool = data.world.asked(role);
    let feed = data.world.feed(pool, scenes, "control", 1, side)?;
    let questioner = Questioner::new(data.world.captioner(), QuestionMix::default());
    let mut samples: Vec<Sample> = Vec::new();
    let mut truths = Vec::new();
    let mut index = 0;
    while samples.len() < count {
        let pair = feed.pair(index, true)?;
        let mut dice = Dice::new(1, "control question", index);
        let attribute = dice.one(ATTRIBUTES);
        let pool = feed.sampler().pool();
        if let Some(question) =
            questioner.ask_about(attribute, Form::Open, &pair.facts, pool, &mut dice)
        {
            samples.push(Sample {
                id: pair.id.clone(),
                segments: question_prompt(0, &question.prompt()),
                images: vec![SampleImage {
                    id: pair.id,
                    image: pair.image,
                    mask: None,
                }],
                provenance: Vec::new(),
            });
            truths.push(question.answer);
        }
        index += 1;
    }
    let own = score(runner, &samples, &truths, seed, interrupted)?;
    let images: Vec<Vec<SampleImage>> = samples.iter().map(|s| s.images.clone()).collect();
    for (i, sample) in samples.iter_mut().enumerate() {
        sample.images = images[(i + 1) % images.len()].clone();
    }
    let others = score(runner, &samples, &truths, seed, interrupted)?;
    Ok([own, others])
}

/// Answers to prompts, in order.
pub(crate) fn replies(
    runner: &Runner,
    samples: &[Sample],
    options: &TextOptions,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<Reply>, EngineError> {
    let mut replies = Vec::with_capacity(samples.len());
    for batch in samples.chunks(runner.batch.max(1)) {
        if interrupted() {
            return Err(EngineError::Stopped);
        }
        replies.extend(runner.answer(batch, options)?);
    }
    Ok(replies)
}

fn score(
    runner: &Runner,
    samples: &[Sample],
    truths: &[String],
    seed: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<Scored>, EngineError> {
    let replies = replies(runner, samples, &TextOptions::longest(4), interrupted)?;
    Ok(replies
        .iter()
        .zip(truths)
        .enumerate()
        .map(|(i, (reply, truth))| {
            let right = exact_match(&reply.text, truth, ParseMode::Strict);
            let value = f64::from(u8::from(right));
            Scored::new(seed, i.to_string(), i.to_string(), value)
        })
        .collect())
}

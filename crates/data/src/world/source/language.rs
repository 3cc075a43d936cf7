//! Text documents for the language model: captions, and questions about scenes described in words, in
//! the very wording that is later used with an image in the description's place.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::dice::Dice;
use crate::sample::{Sample, Segment};
use crate::source::Source;
use crate::text;
use crate::text::protocol::{
    ANSWER, ASSISTANT, CAPTION_ANSWER, CAPTION_REQUEST, LOOK, REGION_REQUEST, SYSTEM, USER,
};
use crate::world::feed::SceneFeed;
use crate::world::scene::{Facts, QuestionMix, Questioner};

/// Shares of the kinds of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageConfig {
    /// Share of bare captions: one to five of the same scene in different words. Saying a thing again is
    /// how a small model learns to look back.
    pub captions: f32,
    /// The first documents are bare captions only; their share falls to the above over this many.
    pub introduction: u64,
    /// Share of requests for a caption or a region description, answered.
    pub descriptions: f32,
    /// Most questions about one description, as turns of a conversation; 1 to this many.
    pub turns: usize,
    /// Share of descriptions that only name categories (with presence questions only).
    pub category_descriptions: f32,
    /// Weights of attributes and forms; presence is asked most, it is learned last.
    pub questions: QuestionMix,
}

impl Default for LanguageConfig {
    fn default() -> Self {
        let questions = QuestionMix {
            presence: 5.0,
            ..QuestionMix::default()
        };
        Self {
            captions: 0.2,
            introduction: 16_000,
            descriptions: 0.1,
            turns: 4,
            category_descriptions: 0.1,
            questions,
        }
    }
}

/// Documents without images, about scenes that are never drawn.
#[derive(Clone, Debug)]
pub struct LanguageSource {
    feed: SceneFeed,
    config: LanguageConfig,
    questioner: Questioner,
    presence: Questioner,
}

impl LanguageSource {
    /// Documents from a feed, usually [`World::language_feed`](super::World::language_feed). No picture is
    /// drawn: nouns reach the model, drawings do not.
    pub fn new(feed: SceneFeed, config: LanguageConfig) -> Self {
        let questioner = Questioner::new(feed.captioner().clone(), config.questions.clone());
        let only = QuestionMix {
            presence: 1.0,
            main_object: 0.5,
            quantity: 0.0,
            colour: 0.0,
            position: 0.0,
            orientation: 0.0,
            background: 0.0,
            structure: 0.0,
            forms: [1.0, 0.0, 0.0],
        };
        let presence = Questioner::new(feed.captioner().clone(), only);
        Self {
            feed,
            config,
            questioner,
            presence,
        }
    }

    fn caption(&self, facts: &Facts, dice: &mut Dice) -> String {
        let captioner = self.feed.captioner();
        if dice.chance(0.7) {
            captioner.full(facts, dice)
        } else {
            captioner.category(facts, dice)
        }
    }

    fn description(&self, facts: &Facts, dice: &mut Dice) -> Vec<Segment> {
        let captioner = self.feed.captioner();
        if dice.chance(0.5) {
            let prompt = format!(
                "{SYSTEM}\n{USER} {} {CAPTION_REQUEST}\n{ASSISTANT} {CAPTION_ANSWER}",
                captioner.full(facts, dice)
            );
            conversation(prompt, &captioner.category_list(facts), false)
        } else {
            let group = &facts.groups[dice.below(facts.groups.len())];
            let prompt = format!(
                "{SYSTEM}\n{USER} {} {REGION_REQUEST}\n{ASSISTANT}",
                captioner.region(group, dice)
            );
            conversation(prompt, &captioner.region_reference(group), false)
        }
    }

    fn questions(&self, facts: &Facts, dice: &mut Dice) -> Vec<Segment> {
        let plain = dice.chance(self.config.category_descriptions);
        let captioner = self.feed.captioner();
        let description = if plain {
            captioner.category(facts, dice)
        } else {
            captioner.full(facts, dice)
        };
        let questioner = if plain {
            &self.presence
        } else {
            &self.questioner
        };
        let mut segments = Vec::new();
        for turn in 0..1 + dice.below(self.config.turns.max(1)) {
            let question = questioner.ask(facts, self.feed.sampler().pool(), dice);
            let prompt = if turn == 0 {
                text::text_question_prompt(&description, &question.prompt())
            } else {
                format!(
                    "\n{USER} {LOOK} {}\n{ASSISTANT} {ANSWER}",
                    question.prompt()
                )
            };
            segments.extend(conversation(prompt, &question.answer, true));
        }
        segments
    }
}

fn conversation(prompt: String, answer: &str, counted: bool) -> Vec<Segment> {
    let mut segments = vec![Segment::Text {
        text: prompt,
        counted,
    }];
    segments.extend(text::answer(answer));
    segments
}

impl Source for LanguageSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (_, facts, mut dice) = self.feed.scene(index)?;
        let read = (index as f32 / self.config.introduction.max(1) as f32).min(1.0);
        let later = 1.0 - self.config.captions;
        let shares = [
            1.0 - read * later,
            read * self.config.descriptions,
            read * (later - self.config.descriptions),
        ];
        let segments = match dice.weighted(&shares) {
            Some(0) => {
                let captions: Vec<String> = (0..1 + dice.below(5))
                    .map(|_| self.caption(&facts, &mut dice))
                    .collect();
                let text = captions.join(" . ");
                vec![
                    Segment::Text {
                        text,
                        counted: true,
                    },
                    Segment::Eos { counted: true },
                ]
            }
            Some(1) => self.description(&facts, &mut dice),
            _ => self.questions(&facts, &mut dice),
        };
        Ok(Sample {
            id: self.feed.id(index),
            segments,
            images: vec![],
            provenance: vec![],
        })
    }
}

//! Stage 2, instruction tuning: questions about scenes in the protocols' wording; only answers count.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::sample::Sample;
use crate::source::Source;
use crate::text;
use crate::world::feed::{SceneFeed, provenance};
use crate::world::scene::{QuestionMix, Questioner};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstructConfig {
    /// Weights of attributes and forms.
    pub questions: QuestionMix,
    /// Share of samples that ask for a caption instead.
    pub captions: f32,
    /// Questions about each image, as turns of one conversation.
    pub turns: usize,
    /// Share of questions asked as people ask, without the protocols' instruction how to answer.
    pub plain: f32,
    /// Share of conversations whose questions follow the image without roles and instructions: a protocol's turn spends
    /// forty tokens on one answered word, such a one about ten. In `[0, 1]`.
    pub short: f32,
    /// Questions of such a conversation.
    pub short_turns: usize,
}

impl Default for InstructConfig {
    fn default() -> Self {
        // What a picture looks like is asked more than what is in it, and in words more than in yes or
        // no: an answer of one word in many tells the visual tokens most.
        let questions = QuestionMix {
            presence: 2.0,
            main_object: 1.0,
            quantity: 1.5,
            colour: 1.5,
            position: 1.5,
            orientation: 1.5,
            background: 1.5,
            structure: 1.5,
            forms: [0.25, 0.6, 0.15],
        };
        Self {
            questions,
            captions: 0.08,
            turns: 3,
            plain: 0.2,
            short: 0.7,
            short_turns: 8,
        }
    }
}

/// Conversations about one scene each.
#[derive(Clone, Debug)]
pub struct InstructSource {
    feed: SceneFeed,
    questioner: Questioner,
    config: InstructConfig,
}

impl InstructSource {
    /// Conversations from a feed.
    pub fn new(feed: SceneFeed, config: InstructConfig) -> Self {
        let questioner = Questioner::new(feed.captioner().clone(), config.questions.clone());
        Self {
            feed,
            questioner,
            config,
        }
    }
}

impl Source for InstructSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (scene, facts, mut dice) = self.feed.scene(index)?;
        let id = self.feed.id(index);
        let mut segments = Vec::new();
        if dice.chance(self.config.captions) {
            segments.extend(text::caption_prompt(0));
            segments.extend(text::answer(&self.feed.captioner().category_list(&facts)));
        } else {
            let short = self.config.short > 0.0 && dice.chance(self.config.short);
            let turns = match short {
                true => self.config.short_turns,
                false => self.config.turns,
            };
            for turn in 0..turns.max(1) {
                let pool = self.feed.sampler().pool();
                let question = self.questioner.ask(&facts, pool, &mut dice);
                segments.extend(match short {
                    true => text::short_question(turn == 0, &question.plain()),
                    false => {
                        let asked = match dice.chance(self.config.plain) {
                            true => question.plain(),
                            false => question.prompt(),
                        };
                        let images: &[usize] = if turn == 0 { &[0] } else { &[] };
                        text::question_turn(turn == 0, images, &asked)
                    }
                });
                segments.extend(text::answer(&question.answer));
            }
        }
        Ok(Sample {
            images: vec![self.feed.picture(id.clone(), &scene)?],
            provenance: provenance(&scene),
            segments,
            id,
        })
    }
}

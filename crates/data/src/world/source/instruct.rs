//! Stage 2, instruction tuning: questions about scenes in the protocols' wording; only answers count.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::sample::{Sample, Segment};
use crate::source::Source;
use crate::text;
use crate::text::protocol::{ANSWER, ASSISTANT, LOOK, USER};
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
            for turn in 0..self.config.turns.max(1) {
                let question = self
                    .questioner
                    .ask(&facts, self.feed.sampler().pool(), &mut dice);
                let asked = if dice.chance(self.config.plain) {
                    question.plain()
                } else {
                    question.prompt()
                };
                if turn == 0 {
                    segments.extend(text::question_prompt(0, &asked));
                } else {
                    let text = format!("\n{USER} {LOOK} {asked}\n{ASSISTANT} {ANSWER}");
                    segments.push(Segment::Text {
                        text,
                        counted: false,
                    });
                }
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

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
use crate::world::scene::{
    Attribute, Draft, Facts, Orientation, Position, Question, QuestionMix, Questioner, Tint,
};

/// Shares of the kinds of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageConfig {
    /// Share of bare captions: two to five of the same scene in different words. Saying a thing again is
    /// how a small model learns to look back.
    pub captions: f32,
    /// So many documents come first that only ask what things of a crowd are like, answers right behind the questions;
    /// a third of them about places, which are learned last where there is anything else, a third about colors and
    /// directions, a third about all. To find a thing by its name is learned in few hundred steps where nothing else is to
    /// be learned, and not in ten thousand among everything else.
    pub introduction: u64,
    /// Share of requests for a caption or a region description, answered.
    pub descriptions: f32,
    /// Over this many documents after those closed questions come in place of open ones: what is to be compared with a
    /// claim must first be found.
    pub opening: u64,
    /// Most questions about one description, as turns of a conversation; 1 to this many.
    pub turns: usize,
    /// Share of questioned descriptions whose questions follow one another without roles and instructions: a
    /// protocol's turn spends forty tokens on one answered word, a plain one about twelve.
    pub plain: f32,
    /// Questions about such a description.
    pub plain_turns: usize,
    /// Share of such descriptions whose questions come in pairs, what a thing is like and then whether it is: the
    /// comparison that a claim needs is learned where the truth has just been said. In `[0, 1]`.
    pub paired: f32,
    /// Share of such descriptions whose answers stand right behind the question mark. A claim is the word before it then,
    /// and what is found where it is read has one step to go.
    pub terse: f32,
    /// Share of descriptions that only name categories (with presence questions only).
    pub category_descriptions: f32,
    /// Share of documents about crowds: three to five things, no two alike in color, number, place or direction. In most
    /// scenes one value is all there is, and what it belongs to need not be learned. In `[0, 1]`.
    pub crowded: f32,
    /// Weights of attributes and forms; what is learned last is asked most.
    pub questions: QuestionMix,
}

impl Default for LanguageConfig {
    fn default() -> Self {
        let questions = QuestionMix {
            presence: 4.0,
            main_object: 1.2,
            quantity: 1.2,
            colour: 1.6,
            position: 6.0,
            orientation: 1.6,
            background: 1.0,
            structure: 1.0,
            forms: [0.6, 0.25, 0.15],
        };
        Self {
            captions: 0.08,
            introduction: 96_000,
            opening: 64_000,
            descriptions: 0.06,
            turns: 3,
            plain: 0.85,
            plain_turns: 7,
            paired: 0.5,
            terse: 0.7,
            category_descriptions: 0.1,
            crowded: 0.5,
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
    open: Questioner,
    presence: Questioner,
    /// What the thirds of the introduction ask about.
    drills: [Questioner; 3],
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
        let of_things = QuestionMix {
            presence: 0.0,
            main_object: 0.0,
            background: 0.0,
            structure: 0.0,
            forms: [0.0, 1.0, 0.0],
            ..QuestionMix::default()
        };
        let beside = QuestionMix {
            quantity: 0.0,
            position: 0.0,
            ..of_things.clone()
        };
        let places = QuestionMix {
            colour: 0.0,
            orientation: 0.0,
            quantity: 0.0,
            ..of_things.clone()
        };
        let drills =
            [places, beside, of_things].map(|mix| Questioner::new(feed.captioner().clone(), mix));
        let mostly_open = QuestionMix {
            forms: [0.1, 0.9, 0.0],
            ..config.questions.clone()
        };
        let open = Questioner::new(feed.captioner().clone(), mostly_open);
        Self {
            feed,
            config,
            questioner,
            open,
            presence,
            drills,
        }
    }

    /// Three to five things that differ in everything that can be asked about them. Nobody draws them, so each place may
    /// be that of anyone.
    fn crowd(&self, dice: &mut Dice) -> Result<Facts, DataError> {
        let draft = Draft {
            counts: Some(vec![1; 3 + dice.below(3)]),
            ..Draft::default()
        };
        let sampler = self.feed.sampler();
        let scene = sampler.sample_like(&draft, dice);
        let mut facts = Facts::new(&scene, sampler.renderer().corpus())?;
        let mut tints = Tint::COLOURS.to_vec();
        let mut orientations = Orientation::ALL.to_vec();
        let mut counts: Vec<usize> = (1..=facts.groups.len().min(4)).collect();
        let mut positions = Position::ALL.to_vec();
        dice.shuffle(&mut tints);
        dice.shuffle(&mut orientations);
        dice.shuffle(&mut counts);
        dice.shuffle(&mut positions);
        let groups = facts.groups.iter_mut().enumerate();
        for (index, group) in groups {
            group.tint = tints[index % tints.len()];
            let turned = orientations[index % orientations.len()];
            group.orientation = group.orientation.map(|_| turned);
            group.count = counts[index % counts.len()];
            group.position = Some(positions[index % positions.len()]);
        }
        Ok(facts)
    }

    /// A caption that names the groups in any order: to say again what is true of a thing, it has to be found by the
    /// thing's name.
    fn caption(&self, facts: &Facts, dice: &mut Dice) -> String {
        let captioner = self.feed.captioner();
        let mut facts = facts.clone();
        dice.shuffle(&mut facts.groups);
        if dice.chance(0.8) {
            captioner.full(&facts, dice)
        } else {
            captioner.category(&facts, dice)
        }
    }

    fn description(&self, facts: &Facts, dice: &mut Dice) -> Vec<Segment> {
        let captioner = self.feed.captioner();
        if dice.chance(0.5) {
            let prompt = format!(
                "{SYSTEM}\n{USER} {} {CAPTION_REQUEST}\n{ASSISTANT} {CAPTION_ANSWER}",
                captioner.full(facts, dice)
            );
            conversation(&prompt, &captioner.category_list(facts))
        } else {
            let group = &facts.groups[dice.below(facts.groups.len())];
            let prompt = format!(
                "{SYSTEM}\n{USER} {} {REGION_REQUEST}\n{ASSISTANT}",
                captioner.region(group, dice)
            );
            conversation(&prompt, &captioner.region_reference(group))
        }
    }

    /// What things of a crowd are like, one question after the other.
    fn drilled(&self, facts: &Facts, drill: &Questioner, dice: &mut Dice) -> Vec<Segment> {
        let description = self.feed.captioner().full(facts, dice);
        let pool = self.feed.sampler().pool();
        let turns = 0..self.config.plain_turns.max(1);
        let questions = turns.map(|_| drill.ask(facts, pool, dice)).collect();
        conversation_about(&description, questions, Style::Terse)
    }

    /// Questions about a scene; `closed` is the share of documents whose questions have their final mix of forms.
    fn questions(&self, facts: &Facts, closed: f32, dice: &mut Dice) -> Vec<Segment> {
        let names_only = dice.chance(self.config.category_descriptions);
        let captioner = self.feed.captioner();
        let description = if names_only {
            captioner.category(facts, dice)
        } else {
            captioner.full(facts, dice)
        };
        let questioner = match names_only {
            true => &self.presence,
            false if dice.chance(closed) => &self.questioner,
            false => &self.open,
        };
        let shortly = dice.chance(self.config.plain);
        let turns = match shortly {
            true => self.config.plain_turns.max(1),
            false => 1 + dice.below(self.config.turns.max(1)),
        };
        let pairs = shortly && !names_only && dice.chance(self.config.paired);
        let style = match shortly {
            true if dice.chance(self.config.terse) => Style::Terse,
            true => Style::Plain,
            false => Style::Protocol,
        };
        let mut questions = Vec::new();
        while questions.len() < turns {
            match pairs.then(|| questioner.ask_twice(facts, dice)).flatten() {
                Some(pair) => questions.extend(pair),
                None => questions.push(questioner.ask(facts, self.feed.sampler().pool(), dice)),
            }
        }
        questions.truncate(turns);
        conversation_about(&description, questions, style)
    }
}

/// How questions are put.
#[derive(Clone, Copy)]
enum Style {
    /// With roles and instructions.
    Protocol,
    /// Without.
    Plain,
    /// Without, answers right behind the question mark.
    Terse,
}

/// Questions and answers about what a description says.
fn conversation_about(description: &str, questions: Vec<Question>, style: Style) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (turn, question) in questions.into_iter().enumerate() {
        let before = if turn == 0 { description } else { "" };
        let prompt = match style {
            Style::Terse => format!("{before} {}", question.plain()),
            Style::Plain => format!("{before} {} {ANSWER}", question.plain()),
            Style::Protocol if turn == 0 => {
                text::text_question_prompt(description, &question.prompt())
            }
            Style::Protocol => format!(
                "\n{USER} {LOOK} {}\n{ASSISTANT} {ANSWER}",
                question.prompt()
            ),
        };
        // What nobody can foresee, such as the name of a thing that is not there, teaches nothing.
        let foreseen = !matches!(
            question.attribute,
            Attribute::Presence | Attribute::MainObject
        );
        let claim = question.claim.as_deref().filter(|_| foreseen);
        segments.extend(asked(&prompt, claim));
        segments.extend(text::answer(&question.answer));
    }
    segments
}

/// What comes before an answer. Of a yes/no question its claim is learned as well as its answer: half of the claims
/// are true, so a model that looks the truth up predicts them, and has only to compare.
fn asked(text: &str, claim: Option<&str>) -> Vec<Segment> {
    let piece = |text: &str, counted| Segment::Text {
        text: text.to_owned(),
        counted,
    };
    // The description before the question may hold the same words.
    match claim.and_then(|claim| Some((text.rfind(claim)?, claim.len()))) {
        Some((start, length)) => {
            let (before, rest) = text.split_at(start);
            let (claim, after) = rest.split_at(length);
            vec![
                piece(before, false),
                piece(claim, true),
                piece(after, false),
            ]
        }
        None => vec![piece(text, false)],
    }
}

fn conversation(prompt: &str, answer: &str) -> Vec<Segment> {
    let mut segments = asked(prompt, None);
    segments.extend(text::answer(answer));
    segments
}

impl Source for LanguageSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (_, mut facts, mut dice) = self.feed.scene(index)?;
        let introduced = index >= self.config.introduction;
        if !introduced || dice.chance(self.config.crowded) {
            facts = self.crowd(&mut dice)?;
        }
        let later = index.saturating_sub(self.config.introduction);
        let closed = (later as f32 / self.config.opening.max(1) as f32).min(1.0);
        let LanguageConfig {
            captions,
            descriptions,
            ..
        } = self.config;
        let shares = [captions, descriptions, 1.0 - captions - descriptions];
        let segments = match dice.weighted(&shares) {
            _ if !introduced => {
                let third = 3 * index / self.config.introduction;
                self.drilled(&facts, &self.drills[third as usize], &mut dice)
            }
            Some(0) => {
                // The first one says what nobody can foresee.
                let mut segments = vec![Segment::Text {
                    text: self.caption(&facts, &mut dice),
                    counted: false,
                }];
                for _ in 0..1 + dice.below(4) {
                    segments.push(Segment::Text {
                        text: format!(" . {}", self.caption(&facts, &mut dice)),
                        counted: true,
                    });
                }
                segments.push(Segment::Eos { counted: true });
                segments
            }
            Some(1) => self.description(&facts, &mut dice),
            _ => self.questions(&facts, closed, &mut dice),
        };
        Ok(Sample {
            id: self.feed.id(index),
            segments,
            images: vec![],
            provenance: vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use crate::world::scene::{Group, SceneConfig};
    use std::collections::BTreeSet;

    fn documents(config: LanguageConfig) -> Vec<String> {
        let world = World::builtin().unwrap();
        let feed = world.language_feed(SceneConfig::default(), 1).unwrap();
        let source = LanguageSource::new(feed, config);
        let text = |segment: Segment| match segment {
            Segment::Text { text, .. } => text,
            _ => "|".to_owned(),
        };
        (100_000..100_040)
            .map(|index| source.get(index).unwrap().segments)
            .map(|segments| segments.into_iter().map(text).collect())
            .collect()
    }

    #[test]
    fn pairs_and_terse_answers_read_as_documented() {
        let only = |paired, terse| LanguageConfig {
            captions: 0.0,
            descriptions: 0.0,
            category_descriptions: 0.0,
            plain: 1.0,
            plain_turns: 4,
            paired,
            terse,
            ..LanguageConfig::default()
        };
        for document in documents(only(1.0, 1.0)) {
            assert!(!document.contains(ANSWER), "{document}");
            let turns: Vec<&str> = document.trim_end_matches('|').split('|').collect();
            assert_eq!(turns.len(), 4, "{document}");
            for pair in turns.chunks(2) {
                let answer = |turn: &str| turn.rsplit('?').next().unwrap().trim().to_owned();
                let truth = answer(pair[0]);
                let claimed = pair[1].split('?').next().unwrap();
                let said = format!("{claimed} ").contains(&format!(" {truth} "));
                // A true claim says the answer again.
                assert!(answer(pair[1]) != "yes" || said, "{document}");
            }
        }
        for document in documents(only(0.0, 0.0)) {
            assert_eq!(document.matches(ANSWER).count(), 4, "{document}");
        }
    }

    #[test]
    fn the_first_documents_ask_what_things_of_a_crowd_are_like() {
        let world = World::builtin().unwrap();
        let feed = world.language_feed(SceneConfig::default(), 1).unwrap();
        let source = LanguageSource::new(feed, LanguageConfig::default());
        for index in 0..20 {
            let segments = source.get(index).unwrap().segments;
            let answers = segments
                .iter()
                .filter(|s| matches!(s, Segment::Eos { .. }))
                .count();
            assert_eq!(
                answers,
                LanguageConfig::default().plain_turns,
                "{segments:?}"
            );
            let counted = |segment: &Segment| match segment {
                Segment::Text { text, counted } if *counted => Some(text.clone()),
                _ => None,
            };
            let answers: Vec<String> = segments.iter().filter_map(counted).collect();
            assert!(
                !answers
                    .iter()
                    .any(|a| a.contains("yes") || a.contains("no")),
                "{answers:?}"
            );
        }
    }

    #[test]
    fn things_of_a_crowd_differ_in_all_that_is_asked_about_them() {
        let world = World::builtin().unwrap();
        let feed = world.language_feed(SceneConfig::default(), 1).unwrap();
        let source = LanguageSource::new(feed, LanguageConfig::default());
        let mut sizes = BTreeSet::new();
        for index in 0..60 {
            let facts = source.crowd(&mut Dice::new(1, "crowd", index)).unwrap();
            let things = facts.groups.len();
            sizes.insert(things);
            let different = |value: &dyn Fn(&Group) -> String| {
                let values: BTreeSet<String> = facts.groups.iter().map(value).collect();
                values.len()
            };
            assert_eq!(different(&|g| format!("{:?}", g.tint)), things);
            assert_eq!(different(&|g| format!("{:?}", g.position)), things);
            assert_eq!(different(&|g| g.concept.to_string()), things);
            assert_eq!(different(&|g| g.count.to_string()), things.min(4));
        }
        assert_eq!(sizes, BTreeSet::from([3, 4, 5]));
    }

    #[test]
    fn claims_count_and_the_question_around_them_does_not() {
        let text = "an owl on a red background Is the background red? The answer is";
        let pieces: Vec<(String, bool)> = asked(text, Some("red"))
            .into_iter()
            .map(|segment| match segment {
                Segment::Text { text, counted } => (text, counted),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            pieces,
            [
                (
                    "an owl on a red background Is the background ".to_owned(),
                    false
                ),
                ("red".to_owned(), true),
                ("? The answer is".to_owned(), false),
            ]
        );
        assert_eq!(asked(text, None).len(), 1);
        assert_eq!(asked(text, Some("green")).len(), 1);
    }
}

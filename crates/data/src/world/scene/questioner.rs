//! Asks questions about a scene: true answers, believable wrong ones, each attribute in up to three forms.

use super::caption::Captioner;
use super::facts::{Facts, Group};
use super::pool::Pool;
use super::question::{Attribute, Form, Question, QuestionMix};
use super::spec::Position;
use super::values::{Values, absent_concept, values};
use super::wording::{self, position_phrase, with_article};
use crate::dice::Dice;
use crate::text::protocol::fill;

/// Asks questions about scenes; negatives come from a pool of concepts.
#[derive(Clone, Debug)]
pub struct Questioner {
    captioner: Captioner,
    mix: QuestionMix,
}

impl Questioner {
    /// A questioner with this mix.
    pub fn new(captioner: Captioner, mix: QuestionMix) -> Self {
        Self { captioner, mix }
    }

    /// The captioner, for the same nouns.
    pub fn captioner(&self) -> &Captioner {
        &self.captioner
    }

    /// A random question by the mix; attributes that the scene does not have are left out.
    pub fn ask(&self, facts: &Facts, pool: &Pool, dice: &mut Dice) -> Question {
        let asked = self.by_weight(
            |_| true,
            dice,
            |attribute, dice| {
                let form = match dice.weighted(&self.mix.forms) {
                    Some(1) => Form::Open,
                    Some(2) => Form::TwoOption,
                    _ => Form::YesNo,
                };
                self.ask_about(attribute, form, facts, pool, dice)
            },
        );
        asked.unwrap_or_else(|| self.presence(facts, pool, dice))
    }

    /// What is asked about an attribute drawn by the mix from those that are `allowed`, and can be asked of the scene.
    fn by_weight<T>(
        &self,
        allowed: impl Fn(Attribute) -> bool,
        dice: &mut Dice,
        ask: impl Fn(Attribute, &mut Dice) -> Option<T>,
    ) -> Option<T> {
        let weight = |attribute| match allowed(attribute) {
            true => self.mix.weight(attribute),
            false => 0.0,
        };
        let mut weights = Attribute::ALL.map(weight);
        while let Some(index) = dice.weighted(&weights) {
            if let Some(asked) = ask(Attribute::ALL[index], dice) {
                return Some(asked);
            }
            weights[index] = 0.0;
        }
        None
    }

    /// A question about one attribute; `None` if the scene does not have it. Presence and main object
    /// are always yes/no questions. Half of all yes/no questions are true.
    pub fn ask_about(
        &self,
        attribute: Attribute,
        form: Form,
        facts: &Facts,
        pool: &Pool,
        dice: &mut Dice,
    ) -> Option<Question> {
        let group = facts.groups.get(dice.below(facts.groups.len()))?;
        match attribute {
            Attribute::Presence => return Some(self.presence(facts, pool, dice)),
            Attribute::MainObject => return self.main_object(facts, pool, dice),
            _ => {}
        }
        let values = values(attribute, facts, group, dice)?;
        Some(self.pose(attribute, form, &values, dice))
    }

    /// What one thing is like, and whether it is: an open question and a yes/no question about the same attribute of the
    /// same group. `None` if the scene has none of the attributes that the mix asks about.
    pub fn ask_twice(&self, facts: &Facts, dice: &mut Dice) -> Option<[Question; 2]> {
        let described =
            |attribute| !matches!(attribute, Attribute::Presence | Attribute::MainObject);
        self.by_weight(described, dice, |attribute, dice| {
            let group = facts.groups.get(dice.below(facts.groups.len()))?;
            let values = values(attribute, facts, group, dice)?;
            Some([Form::Open, Form::YesNo].map(|form| self.pose(attribute, form, &values, dice)))
        })
    }

    /// Whether one concept is there, in the protocol's wording.
    pub fn presence_of(&self, concept: usize, facts: &Facts) -> Question {
        let answer = if facts.has(concept) { "yes" } else { "no" };
        self.presence_question(wording::PRESENCE[0], concept, answer)
    }

    fn presence(&self, facts: &Facts, pool: &Pool, dice: &mut Dice) -> Question {
        let template = wording::PRESENCE[template_index(dice, wording::PRESENCE.len())];
        let true_one = dice.chance(0.5);
        let absent = absent_concept(facts, pool, dice);
        match (true_one, absent) {
            (false, Some(concept)) => self.presence_question(template, concept, "no"),
            _ => {
                let concept = facts
                    .groups
                    .get(dice.below(facts.groups.len()))
                    .map_or(0, |g| g.concept);
                self.presence_question(
                    template,
                    concept,
                    if facts.has(concept) { "yes" } else { "no" },
                )
            }
        }
    }

    fn presence_question(&self, template: &str, concept: usize, answer: &str) -> Question {
        let text = fill(
            template,
            &[("a", &with_article(self.captioner.noun(concept)))],
        );
        let noun = self.captioner.noun(concept);
        yes_no(Attribute::Presence, text, noun, answer)
    }

    /// Whether a concept is the main object, in the protocol's wording.
    pub fn main_object_of(&self, concept: usize, answer: bool) -> Question {
        let noun = self.captioner.noun(concept);
        let text = fill(wording::MAIN_OBJECT[0], &[("noun", noun)]);
        let answer = if answer { "yes" } else { "no" };
        yes_no(Attribute::MainObject, text, noun, answer)
    }

    fn main_object(&self, facts: &Facts, pool: &Pool, dice: &mut Dice) -> Option<Question> {
        let [group] = facts.groups.as_slice() else {
            return None;
        };
        let truth = dice.chance(0.5);
        let absent = absent_concept(facts, pool, dice);
        Some(match absent {
            Some(concept) if !truth => self.main_object_of(concept, false),
            _ => self.main_object_of(group.concept, true),
        })
    }

    fn pose(
        &self,
        attribute: Attribute,
        form: Form,
        values: &Values<'_>,
        dice: &mut Dice,
    ) -> Question {
        let Values {
            group,
            truth,
            wrong,
        } = *values;
        let (open, closed) = wording::templates(attribute);
        let true_first = dice.chance(0.5);
        let closed = closed[template_index(dice, closed.len())];
        let open = open[template_index(dice, open.len())];
        match form {
            Form::YesNo => {
                let (value, answer) = if true_first {
                    (truth, "yes")
                } else {
                    (wrong, "no")
                };
                yes_no(attribute, self.about(closed, group, value), value, answer)
            }
            Form::Open => Question {
                attribute,
                form,
                text: self.about(open, group, truth),
                options: None,
                answer: truth.to_owned(),
                claim: None,
            },
            Form::TwoOption => {
                let options = if true_first {
                    [truth, wrong]
                } else {
                    [wrong, truth]
                };
                Question {
                    attribute,
                    form,
                    text: self.about(open, group, truth),
                    options: Some(options.map(str::to_owned)),
                    answer: truth.to_owned(),
                    claim: None,
                }
            }
        }
    }

    /// The open question of the protocol's wording about one group.
    pub(crate) fn open_text(&self, attribute: Attribute, group: &Group) -> String {
        let template = wording::templates(attribute).0[0];
        self.about(template, group, "")
    }

    fn about(&self, template: &str, group: &Group, value: &str) -> String {
        let (noun, plural) = (
            self.captioner.noun(group.concept),
            self.captioner.plural(group.concept),
        );
        let several = group.count > 1;
        let x = format!("the {}", if several { plural } else { noun });
        let at = Position::ALL
            .iter()
            .find(|p| p.words() == value)
            .map(|p| position_phrase(*p))
            .unwrap_or_default();
        fill(
            template,
            &[
                ("a", &with_article(noun)),
                ("noun", noun),
                ("plural", plural),
                ("x", &x),
                ("is", if several { "are" } else { "is" }),
                ("Is", if several { "Are" } else { "Is" }),
                ("at", &at),
                ("value", value),
            ],
        )
    }
}

/// The protocol's wording half of the time, a variant otherwise.
fn template_index(dice: &mut Dice, templates: usize) -> usize {
    if dice.chance(0.5) {
        0
    } else {
        dice.below(templates)
    }
}

fn yes_no(attribute: Attribute, text: String, claim: &str, answer: &str) -> Question {
    Question {
        attribute,
        form: Form::YesNo,
        text,
        options: None,
        answer: answer.to_owned(),
        claim: Some(claim.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::corpus::{Corpus, Subset};
    use crate::world::scene::{Arrangement, Background, Orientation, Tint};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn setting() -> (Questioner, Pool, Facts) {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let all: Vec<usize> = (0..corpus.drawings().len()).collect();
        let pool = Pool::new(&corpus, &all);
        let group = |noun: &str, count, position| Group {
            concept: corpus.concept_of_noun(noun).unwrap(),
            objects: vec![0],
            count,
            tint: Tint::Blue,
            orientation: Some(Orientation::TurnedLeft),
            position: Some(position),
        };
        let facts = Facts {
            groups: vec![
                group("owl", 1, Position::TopLeft),
                group("bus", 2, Position::Bottom),
            ],
            main: 0,
            background: Background::Cyan,
            arrangement: Arrangement::Grid,
        };
        (
            Questioner::new(Captioner::new(corpus), QuestionMix::default()),
            pool,
            facts,
        )
    }

    #[test]
    fn answers_are_true_and_yes_is_as_frequent_as_no() {
        let (questioner, pool, facts) = setting();
        for attribute in Attribute::ALL {
            let mut answers: BTreeMap<String, usize> = BTreeMap::new();
            for index in 0..400 {
                let mut dice = Dice::new(9, attribute.name(), index);
                if let Some(q) =
                    questioner.ask_about(attribute, Form::YesNo, &facts, &pool, &mut dice)
                {
                    assert!(!q.text.contains('{'), "{}", q.text);
                    assert!(q.text.contains(&q.claim.unwrap()), "{}", q.text);
                    *answers.entry(q.answer).or_default() += 1;
                }
            }
            match attribute {
                Attribute::MainObject => {
                    assert!(answers.is_empty(), "two groups have no main object")
                }
                _ => assert!(
                    (150..250).contains(&answers["yes"]),
                    "{attribute:?} {answers:?}"
                ),
            }
        }
    }

    #[test]
    fn a_pair_of_questions_is_about_one_attribute_of_one_thing() {
        let (questioner, _, facts) = setting();
        for index in 0..200 {
            let mut dice = Dice::new(2, "pair", index);
            let [open, closed] = questioner.ask_twice(&facts, &mut dice).unwrap();
            assert_eq!((open.form, closed.form), (Form::Open, Form::YesNo));
            assert_eq!(open.attribute, closed.attribute);
            let claim = closed.claim.unwrap();
            assert_eq!(closed.answer == "yes", claim == open.answer, "{claim}");
            let nouns = ["owl", "bus"];
            let named = |text: &str| nouns.map(|noun| text.contains(noun));
            assert_eq!(named(&open.text), named(&closed.text));
        }
    }

    #[test]
    fn the_forms_are_worded_as_documented() {
        let (questioner, pool, facts) = setting();
        let prompts = |attribute, form| -> Vec<(String, String)> {
            (0..200)
                .filter_map(|i| {
                    questioner.ask_about(attribute, form, &facts, &pool, &mut Dice::new(1, "q", i))
                })
                .map(|q| (q.prompt(), q.answer))
                .collect()
        };
        let has = |list: &[(String, String)], prompt: &str, answer: &str| {
            assert!(
                list.contains(&(prompt.to_owned(), answer.to_owned())),
                "{prompt}: {:?}",
                &list[..8]
            );
        };
        let one = "Please provide an accurate answer within one word.";
        has(
            &prompts(Attribute::Quantity, Form::Open),
            &format!("How many buses are in the image? {one}"),
            "two",
        );
        has(
            &prompts(Attribute::Colour, Form::Open),
            &format!("What color are the buses? {one}"),
            "blue",
        );
        has(
            &prompts(Attribute::Position, Form::YesNo),
            "Is the owl at the top left of the image? Please answer yes or no.",
            "yes",
        );
        has(
            &prompts(Attribute::Orientation, Form::TwoOption),
            "What is the orientation of the owl? (a) upright (b) turned left",
            "turned left",
        );
        has(
            &prompts(Attribute::Presence, Form::YesNo),
            "Is there an owl in the image? Please answer yes or no.",
            "yes",
        );
        has(
            &prompts(Attribute::Structure, Form::Open),
            &format!("How are the objects arranged? {one}"),
            "grid",
        );
    }
}

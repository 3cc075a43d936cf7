//! Puts facts into words: category captions name what is there, full captions say everything,
//! region descriptions say everything about one group.

use std::sync::Arc;

use super::facts::{Facts, Group};
use super::spec::{Orientation, Tint};
use super::wording::{
    self, CATEGORY, FULL, NUMBERS, arrangement_phrase, join, position_phrase, with_article,
};
use crate::dice::Dice;
use crate::text::protocol::fill;
use crate::world::corpus::Corpus;

/// Writes captions about scenes of one corpus.
#[derive(Clone, Debug)]
pub struct Captioner {
    corpus: Arc<Corpus>,
}

/// Wording choices, drawn before any fact is looked at: two captions made with equal dice differ in
/// their facts only.
struct Choices {
    template: usize,
    upright: bool,
    order: bool,
}

impl Choices {
    fn draw(dice: &mut Dice) -> Self {
        let choices = Self {
            template: dice.below(FULL.len()),
            upright: dice.chance(0.6),
            order: dice.chance(0.25),
        };
        // Captions once told how two things stand to each other; what else is drawn has stayed as it was.
        let _ = [dice.chance(0.25), dice.chance(0.5)];
        choices
    }
}

impl Captioner {
    /// A captioner for a corpus.
    pub fn new(corpus: Arc<Corpus>) -> Self {
        Self { corpus }
    }

    /// Singular noun of a concept.
    pub fn noun(&self, concept: usize) -> &str {
        &self.corpus.concepts()[concept].noun
    }

    /// Plural noun of a concept.
    pub fn plural(&self, concept: usize) -> &str {
        &self.corpus.concepts()[concept].plural
    }

    /// Names what is there, deliberately blind to number, colour, place and orientation:
    /// "a photo of a cat and a bus".
    pub fn category(&self, facts: &Facts, dice: &mut Dice) -> String {
        let template = CATEGORY[dice.below(CATEGORY.len())];
        fill(template, &[("list", &self.category_list(facts))])
    }

    /// The names alone: "a cat and a bus".
    pub fn category_list(&self, facts: &Facts) -> String {
        join(
            &facts
                .groups
                .iter()
                .map(|g| with_article(self.noun(g.concept)))
                .collect::<Vec<_>>(),
        )
    }

    /// Says everything: number, colour, orientation, position, arrangement and background. Natural
    /// colours are not mentioned, uprightness in three captions of five.
    pub fn full(&self, facts: &Facts, dice: &mut Dice) -> String {
        let choices = Choices::draw(dice);
        listed(&choices, facts, |group| {
            self.describe(group, choices.upright, choices.order, true)
        })
    }

    /// As [`Self::full`], for the diffusion model's text encoder: everything is said before the noun, "at the top left an
    /// upside down red cat". A causal text encoder knows of a word only what stood before it, so its state at a noun can
    /// say all that is true of the thing.
    pub fn dense(&self, facts: &Facts, dice: &mut Dice) -> String {
        let choices = Choices::draw(dice);
        listed(&choices, facts, |group| {
            self.noun_last(group, choices.upright)
        })
    }

    /// The noun of a group, in its number.
    fn name(&self, group: &Group) -> &str {
        match group.count {
            1 => self.noun(group.concept),
            _ => self.plural(group.concept),
        }
    }

    /// Describes one group by itself, as asked for a region: "a red cat upside down at the top left".
    pub fn region(&self, group: &Group, dice: &mut Dice) -> String {
        let choices = Choices::draw(dice);
        self.describe(group, choices.upright, choices.order, true)
    }

    /// The one description that a region benchmark compares with: everything but uprightness and place.
    pub fn region_reference(&self, group: &Group) -> String {
        self.describe(group, false, false, false)
    }

    fn describe(
        &self,
        group: &Group,
        say_upright: bool,
        turned_first: bool,
        say_position: bool,
    ) -> String {
        let turned = turn(group, say_upright);
        // "an upside down cat" reads well, "a turned left cat" does not.
        let before = turned_first
            && matches!(
                group.orientation,
                Some(Orientation::UpsideDown | Orientation::Upright)
            );
        let position = if say_position {
            group.position.map(position_phrase)
        } else {
            None
        };
        let mut words: Vec<&str> = Vec::new();
        if before {
            words.push(turned);
        }
        words.extend([tint(group), self.name(group)]);
        if !before {
            words.push(turned);
        }
        words.extend(position.as_deref());
        counted(group, words)
    }

    /// "at the top left an upside down red cat".
    fn noun_last(&self, group: &Group, say_upright: bool) -> String {
        let words = vec![turn(group, say_upright), tint(group), self.name(group)];
        let thing = counted(group, words);
        match group.position {
            Some(position) => format!("{} {thing}", position_phrase(position)),
            None => thing,
        }
    }
}

/// A caption that describes one group after the other and says how they stand.
fn listed(choices: &Choices, facts: &Facts, describe: impl Fn(&Group) -> String) -> String {
    let groups: Vec<String> = facts.groups.iter().map(describe).collect();
    let arrangement = match arrangement_phrase(facts.arrangement) {
        "" => String::new(),
        arrangement => format!(" {arrangement}"),
    };
    fill(
        FULL[choices.template],
        &[
            ("list", &join(&groups)),
            ("arrangement", &arrangement),
            ("a_background", &with_article(facts.background.words())),
            ("background", facts.background.words()),
        ],
    )
}

/// The color of a group in words; empty if it is its own.
fn tint(group: &Group) -> &'static str {
    match group.tint {
        Tint::Natural => "",
        tint => tint.words(),
    }
}

/// Which way a group is turned, in words; empty if that cannot be said, or is not.
fn turn(group: &Group, say_upright: bool) -> &'static str {
    match group.orientation {
        Some(Orientation::Upright) if !say_upright => "",
        Some(orientation) => orientation.words(),
        None => "",
    }
}

/// Words behind their number or article; empty ones are left out.
fn counted(group: &Group, mut words: Vec<&str>) -> String {
    words.retain(|w| !w.is_empty());
    let count = match group.count {
        1 => wording::article(words[0]).to_owned(),
        n => NUMBERS
            .get(n)
            .map_or_else(|| n.to_string(), |w| (*w).to_owned()),
    };
    format!("{count} {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::corpus::Subset;
    use crate::world::scene::{Arrangement, Background, Position};

    fn group(corpus: &Corpus, noun: &str, position: Position) -> Group {
        Group {
            concept: corpus.concept_of_noun(noun).unwrap(),
            objects: vec![0],
            count: 1,
            tint: Tint::Red,
            orientation: Some(Orientation::UpsideDown),
            position: Some(position),
        }
    }

    /// An owl somewhere and a bus on the right, on pink.
    fn owl_and_bus(corpus: &Corpus, owl: Position, arrangement: Arrangement) -> Facts {
        Facts {
            groups: vec![
                group(corpus, "owl", owl),
                group(corpus, "bus", Position::Right),
            ],
            main: 0,
            background: Background::Pink,
            arrangement,
        }
    }

    #[test]
    fn captions_read_well_and_say_everything() {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let captioner = Captioner::new(corpus.clone());
        let mut facts = owl_and_bus(&corpus, Position::Left, Arrangement::Row);
        facts.groups[1].tint = Tint::Natural;
        assert_eq!(captioner.category_list(&facts), "an owl and a bus");
        assert_eq!(
            captioner.region_reference(&facts.groups[0]),
            "a red owl upside down"
        );
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..200 {
            let caption = captioner.full(&facts, &mut Dice::new(1, "caption", index));
            for word in ["owl", "bus", "red", "upside down", "left", "pink"] {
                assert!(caption.contains(word), "{caption}");
            }
            seen.insert(caption);
        }
        assert!(seen.contains("a red owl upside down on the left and a bus upside down on the right in a row on a pink background"));
        facts.groups[0].count = 3;
        assert_eq!(
            captioner.region_reference(&facts.groups[0]),
            "three red owls upside down"
        );
    }

    #[test]
    fn dense_captions_end_with_the_nouns() {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let captioner = Captioner::new(corpus.clone());
        let mut facts = owl_and_bus(&corpus, Position::TopLeft, Arrangement::Diagonal);
        facts.groups[1].count = 2;
        facts.groups[1].orientation = Some(Orientation::TurnedLeft);
        let list = "at the top left an upside down red owl and on the right two turned left red buses in a diagonal";
        for index in 0..50 {
            let caption = captioner.dense(&facts, &mut Dice::new(1, "caption", index));
            assert!(caption.contains(list), "{caption}");
        }
        facts.groups.truncate(1);
        facts.groups[0].position = None;
        let caption = captioner.dense(&facts, &mut Dice::new(1, "caption", 0));
        assert!(!caption.contains("left"), "{caption}");
    }

    #[test]
    fn equal_dice_give_captions_that_differ_in_the_fact_only() {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let captioner = Captioner::new(corpus.clone());
        let facts = Facts {
            groups: vec![group(&corpus, "owl", Position::Center)],
            main: 0,
            background: Background::Pink,
            arrangement: Arrangement::Single,
        };
        for index in 0..50 {
            let dice = || Dice::new(1, "caption", index);
            let other = Facts {
                background: Background::Gray,
                ..facts.clone()
            };
            let caption = captioner.full(&facts, &mut dice());
            assert_eq!(
                caption.replace("pink", "gray"),
                captioner.full(&other, &mut dice())
            );
        }
    }
}

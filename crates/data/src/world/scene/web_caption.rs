//! Captions as on the web: they name the main thing, sometimes another one, and now and then nothing at all.

use serde::{Deserialize, Serialize};

use super::caption::Captioner;
use super::facts::Facts;
use super::wording::{CATEGORY, NOISE, join, with_article};
use crate::DataError;
use crate::dice::Dice;
use crate::text::protocol::fill;

/// What captions say and leave out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebCaptions {
    /// Share of captions that name nothing, `[0, 1]`.
    pub noise: f32,
    /// Chance that a thing beside the main one is named, each by itself, `[0, 1]`.
    pub further: f32,
    /// Share of the other captions that say everything, `[0, 1]`: 0 leaves out number, colour, place, orientation and
    /// background always, 1 never.
    pub complete: f32,
    /// Whether captions of pictures in web styles are as the others; they name nothing otherwise.
    pub web_styles: bool,
}

impl Default for WebCaptions {
    fn default() -> Self {
        Self {
            noise: 0.1,
            further: 0.2,
            complete: 0.0,
            web_styles: false,
        }
    }
}

impl WebCaptions {
    /// Captions of pictures that nobody names.
    pub const UNNAMED: Self = Self {
        noise: 1.0,
        further: 0.0,
        complete: 0.0,
        web_styles: false,
    };

    /// Captions that say everything of every picture: what nobody has, as an upper bound.
    pub const EVERYTHING: Self = Self {
        noise: 0.0,
        further: 1.0,
        complete: 1.0,
        web_styles: true,
    };

    /// Checks the ranges.
    ///
    /// # Errors
    /// `Config` naming the field.
    pub fn validate(&self) -> Result<(), DataError> {
        for (field, share) in [
            ("noise", self.noise),
            ("further", self.further),
            ("complete", self.complete),
        ] {
            if !(0.0..=1.0).contains(&share) {
                let reason = format!("{share} is not in [0, 1]");
                return Err(DataError::config(format!("captions.{field}"), reason));
            }
        }
        Ok(())
    }
}

impl Captioner {
    /// A caption that leaves out what `captions` says: "a photo of a cat", of a cat, a bus and a key.
    pub fn web(&self, facts: &Facts, captions: &WebCaptions, dice: &mut Dice) -> String {
        let noise = dice.chance(captions.noise);
        let complete = dice.chance(captions.complete);
        if noise {
            return NOISE[dice.below(NOISE.len())].to_owned();
        }
        if complete {
            return self.full(facts, dice);
        }
        let template = CATEGORY[dice.below(CATEGORY.len())];
        let mut named: Vec<usize> = Vec::new();
        for (index, group) in facts.groups.iter().enumerate() {
            let said = dice.chance(captions.further);
            if index == facts.main {
                named.insert(0, group.concept);
            } else if said {
                named.push(group.concept);
            }
        }
        let nouns: Vec<String> = named
            .into_iter()
            .map(|concept| with_article(self.noun(concept)))
            .collect();
        fill(template, &[("list", &join(&nouns))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TextTokenizer;
    use crate::world::corpus::{Corpus, Subset};
    use crate::world::scene::{Arrangement, Background, Group, Tint};
    use std::sync::Arc;

    fn setting() -> (Captioner, Facts) {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let group = |noun: &str, at: usize| Group {
            concept: corpus.concept_of_noun(noun).unwrap(),
            objects: vec![at],
            count: 1,
            tint: Tint::Red,
            orientation: None,
            position: None,
        };
        let facts = Facts {
            groups: vec![group("owl", 0), group("bus", 1), group("cat", 2)],
            main: 1,
            background: Background::Pink,
            arrangement: Arrangement::Row,
        };
        (Captioner::new(corpus), facts)
    }

    /// How often each word stands in 2,000 captions.
    fn shares(captions: WebCaptions, words: &[&str]) -> Vec<f32> {
        let (captioner, facts) = setting();
        let said: Vec<String> = (0..2000)
            .map(|i| captioner.web(&facts, &captions, &mut Dice::new(4, "web", i)))
            .collect();
        let share = |word: &&str| {
            let with = said
                .iter()
                .filter(|c| c.split(' ').any(|w| w.trim_matches(',') == *word));
            with.count() as f32 / 2000.0
        };
        words.iter().map(share).collect()
    }

    #[test]
    fn the_main_thing_is_named_and_the_others_sometimes() {
        let captions = WebCaptions {
            noise: 0.1,
            further: 0.2,
            ..WebCaptions::default()
        };
        let found = shares(captions, &["bus", "owl", "cat", "red", "pink"]);
        // 0.9 of all captions name; in them, each further thing one time in five.
        for (found, wanted) in found.iter().zip([0.9, 0.18, 0.18, 0.0, 0.0]) {
            assert!((found - wanted).abs() < 0.03, "{found} {wanted}");
        }
    }

    #[test]
    fn noise_names_nothing_and_complete_says_everything() {
        let (captioner, facts) = setting();
        assert_eq!(
            shares(WebCaptions::UNNAMED, &["bus", "owl", "cat"]),
            [0.0; 3]
        );
        assert_eq!(
            shares(
                WebCaptions::EVERYTHING,
                &["bus", "owl", "cat", "red", "pink"]
            ),
            [1.0; 5]
        );
        let first = captioner.web(
            &facts,
            &WebCaptions::default(),
            &mut Dice::new(1, "order", 9),
        );
        let again = captioner.web(
            &facts,
            &WebCaptions::default(),
            &mut Dice::new(1, "order", 9),
        );
        assert_eq!(first, again);
    }

    #[test]
    fn every_word_of_noise_is_known() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let unknown = tokenizer.id_of("<unk>").unwrap();
        for caption in NOISE {
            assert!(
                !tokenizer.encode(caption).unwrap().contains(&unknown),
                "{caption}"
            );
        }
    }

    #[test]
    fn shares_are_checked_by_name() {
        let wrong = WebCaptions {
            further: 1.5,
            ..WebCaptions::default()
        };
        let error = wrong.validate().unwrap_err().to_string();
        assert!(error.contains("captions.further"), "{error}");
        assert!(WebCaptions::UNNAMED.validate().is_ok());
    }
}

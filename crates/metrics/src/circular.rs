//! Multiple choice with the options in every order (MMBench's CircularEval): a question counts only if it is answered
//! rightly however its options are turned.
//!
//! A model that always writes "A" gets a quarter of four options right, and none of the questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figures::{Counts, Family, Figure, Part};
use crate::statistics::{Interval, Scored, accuracy};
use crate::{MetricsError, Result};

/// One question with its options in one order.
#[derive(Debug, Clone, PartialEq)]
pub struct CircularSample {
    /// Seed of the run that answered.
    pub seed: u64,
    /// Identifies the question, the same for all orders of its options and in all runs.
    pub question: String,
    /// Which order it is, from 0, the order of the file.
    pub turn: usize,
    /// Category of the question, empty if there are none.
    pub category: String,
    /// The image asked about, the same name wherever it occurs.
    pub image: String,
    /// Whether the answer is right; nothing if it could not be parsed, which counts as wrong.
    pub correct: Option<bool>,
}

/// Accuracy of questions with options. Fractions, not percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircularScore {
    /// Share of questions that are right in every order, clustered by image.
    pub circular: Interval,
    /// The same per category.
    pub categories: BTreeMap<String, Interval>,
    /// Share of questions that are right in the order of the file.
    pub vanilla: Interval,
    /// Number of answers that chose no option.
    pub unparseable: usize,
    /// Number of questions, counted once for each seed.
    pub questions: usize,
    /// Number of answers.
    pub answers: usize,
}

impl CircularScore {
    /// The whole, then each category.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let figure = |interval| Figure::percent("circular_accuracy", interval);
        let vanilla = Figure::percent("vanilla_accuracy", self.vanilla).titled("first order only");
        let all = Part::new("all", [figure(self.circular), vanilla]);
        let categories = self.categories.iter();
        let categories = categories.map(|(name, interval)| Part::new(name, [figure(*interval)]));
        std::iter::once(all).chain(categories).collect()
    }
}

impl From<&CircularScore> for Family {
    /// Parts: `all`, then each category.
    fn from(score: &CircularScore) -> Self {
        Self {
            counts: Some(Counts {
                samples: score.answers,
                unreadable: 0,
                unparseable: score.unparseable,
            }),
            parts: score.parts(),
            ..Self::new("mmbench", "MMBench")
                .about("comprehension: right whatever the order of the options")
        }
    }
}

/// One score for each question and seed, for statistics: 1 if it is right in every order.
///
/// # Errors
/// `Empty`, or `Duplicate` if a question occurs twice in one order and seed.
pub fn scored(samples: &[CircularSample]) -> Result<Vec<Scored>> {
    if samples.is_empty() {
        return Err(MetricsError::Empty {
            what: "multiple choice",
        });
    }
    let mut questions: BTreeMap<(u64, &str), BTreeMap<usize, &CircularSample>> = BTreeMap::new();
    for sample in samples {
        let turns = questions
            .entry((sample.seed, &sample.question))
            .or_default();
        if turns.insert(sample.turn, sample).is_some() {
            return Err(MetricsError::Duplicate {
                question: format!("{} (order {})", sample.question, sample.turn),
                seed: sample.seed,
            });
        }
    }
    let scores = questions.into_iter().map(|((seed, question), turns)| {
        let right = turns.values().all(|sample| sample.correct == Some(true));
        let image = turns.values().next().map_or("", |s| s.image.as_str());
        Scored::new(seed, image, question, f64::from(u8::from(right)))
    });
    Ok(scores.collect())
}

/// Scores questions whose options were put in one or more orders.
///
/// # Errors
/// As [`scored`].
pub fn score(samples: &[CircularSample]) -> Result<CircularScore> {
    let all = scored(samples)?;
    let mut by_category: BTreeMap<&str, Vec<CircularSample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| !sample.category.is_empty()) {
        let own = by_category.entry(&sample.category).or_default();
        own.push(sample.clone());
    }
    let mut categories = BTreeMap::new();
    for (name, own) in by_category {
        categories.insert(name.to_owned(), accuracy(&scored(&own)?)?);
    }
    let mut first: BTreeMap<(u64, &str), &CircularSample> = BTreeMap::new();
    for sample in samples {
        let known = first
            .entry((sample.seed, &sample.question))
            .or_insert(sample);
        if sample.turn < known.turn {
            *known = sample;
        }
    }
    let vanilla: Vec<Scored> = first
        .into_values()
        .map(|sample| {
            let right = f64::from(u8::from(sample.correct == Some(true)));
            Scored::new(sample.seed, &sample.image, &sample.question, right)
        })
        .collect();
    Ok(CircularScore {
        circular: accuracy(&all)?,
        categories,
        vanilla: accuracy(&vanilla)?,
        unparseable: samples.iter().filter(|s| s.correct.is_none()).count(),
        questions: all.len(),
        answers: samples.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(question: &str, turn: usize, correct: Option<bool>) -> CircularSample {
        CircularSample {
            seed: 0,
            question: question.into(),
            turn,
            category: if question == "3" { "colour" } else { "shape" }.into(),
            image: format!("{question}.jpg"),
            correct,
        }
    }

    #[test]
    fn one_wrong_order_loses_the_question() {
        let score = score(&[
            sample("1", 0, Some(true)),
            sample("1", 1, Some(true)),
            sample("2", 1, Some(true)),
            sample("2", 0, Some(false)),
            sample("3", 0, Some(true)),
            sample("3", 1, None),
        ])
        .unwrap();
        assert!((score.circular.mean - 1.0 / 3.0).abs() < 1e-12);
        assert!((score.vanilla.mean - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(score.categories["shape"].mean, 0.5);
        assert_eq!(score.categories["colour"].mean, 0.0);
        assert_eq!(
            (score.questions, score.answers, score.unparseable),
            (3, 6, 1)
        );
        let family = Family::from(&score);
        let names: Vec<&str> = family.parts.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["all", "colour", "shape"]);
        assert_eq!(family.headline().unwrap().name, "circular_accuracy");
    }

    #[test]
    fn an_order_twice_is_an_error() {
        let twice = [sample("1", 0, Some(true)), sample("1", 0, Some(true))];
        let error = score(&twice).unwrap_err().to_string();
        assert!(error.contains("1 (order 0)"), "{error}");
        assert!(score(&[]).is_err());
    }
}

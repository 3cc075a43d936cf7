//! GQA: its results file and its questions, scored as its own tool does.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::input::{Id, Input, Result, missing};
use super::scorer::{Scorer, Scores, Truth};
use crate::answer::{ParseMode, exact_match};
use crate::figures::{Figure, Unit};
use crate::statistics::{Scored, accuracy};

pub(super) const SCORER: Scorer = Scorer {
    name: "gqa",
    predictions: "GQA's results: a JSON list of questionId and prediction",
    truth: Truth::Beside(
        "GQA's questions: an object of id to question, answer, imageId, types, groups",
        score,
    ),
};

#[derive(Deserialize)]
struct Prediction {
    #[serde(rename = "questionId", alias = "question_id")]
    question_id: Id,
    #[serde(alias = "answer", alias = "text")]
    prediction: String,
}

#[derive(Deserialize)]
struct Question {
    answer: String,
    #[serde(rename = "imageId")]
    image_id: String,
    #[serde(rename = "isBalanced", default = "balanced")]
    is_balanced: bool,
    #[serde(default)]
    types: Types,
    #[serde(default)]
    groups: Groups,
    #[serde(default)]
    entailed: Vec<String>,
}

fn balanced() -> bool {
    true
}

#[derive(Default, Deserialize)]
struct Types {
    structural: Option<String>,
    semantic: Option<String>,
}

#[derive(Default, Deserialize)]
struct Groups {
    global: Option<String>,
}

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    let mut answers: HashMap<String, String> = HashMap::new();
    let mut seen = HashSet::new();
    for (place, row) in predictions.records::<Prediction>("questionId and prediction")? {
        predictions.once(&mut seen, row.question_id.clone(), &place, "questionId")?;
        answers.insert(row.question_id.to_string(), row.prediction);
    }
    let questions: BTreeMap<String, Question> = references.json("an object of questions by id")?;
    let without: Vec<&String> = questions
        .iter()
        .filter(|(id, q)| q.is_balanced && !answers.contains_key(*id))
        .map(|(id, _)| id)
        .collect();
    missing(predictions, "questions", &without, questions.len())?;

    let right = |id: &str| {
        questions
            .get(id)
            .zip(answers.get(id))
            .map(|(q, a)| *a == q.answer)
    };
    let mut scored = Vec::new();
    let mut normalized = Vec::new();
    let mut parts: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    let mut consistency = Vec::new();
    let mut distribution = Distribution::default();
    for (id, question) in &questions {
        let Some(answer) = answers.get(id) else {
            continue; // outside of the balanced set, and not answered
        };
        let value = f64::from(u8::from(*answer == question.answer));
        if question.is_balanced {
            scored.push(Scored::new(0, &question.image_id, id, value));
            let same = exact_match(answer, &question.answer, ParseMode::Strict);
            let same = f64::from(u8::from(same));
            normalized.push(Scored::new(0, &question.image_id, id, same));
            if let Some(structural) = &question.types.structural {
                let form = if structural == "query" {
                    "open"
                } else {
                    "binary"
                };
                parts.entry(("form", form)).or_default().push(value);
                parts
                    .entry(("structural", structural))
                    .or_default()
                    .push(value);
            }
            if let Some(semantic) = &question.types.semantic {
                parts.entry(("semantic", semantic)).or_default().push(value);
            }
            if let Some(group) = &question.groups.global {
                distribution.add(group, &question.answer, answer);
            }
        }
        let entailed = question.entailed.iter().filter(|other| *other != id);
        let known: Vec<f64> = entailed
            .filter_map(|other| right(other))
            .map(|right| f64::from(u8::from(right)))
            .collect();
        if value == 1.0 && !known.is_empty() {
            consistency.push(known.iter().sum::<f64>() / known.len() as f64);
        }
    }
    let mut figures = vec![Figure::percent(
        "accuracy",
        predictions.scored(accuracy(&scored))?,
    )];
    let mean = |values: &[f64]| 100.0 * values.iter().sum::<f64>() / values.len() as f64;
    for form in ["binary", "open"] {
        if let Some(values) = parts.get(&("form", form)) {
            figures.push(Figure::plain(form, mean(values), Unit::Percent));
        }
    }
    if !consistency.is_empty() {
        figures.push(Figure::plain(
            "consistency",
            mean(&consistency),
            Unit::Percent,
        ));
    }
    if let Some(distance) = distribution.chi_square() {
        let mut figure = Figure::plain("distribution", distance, Unit::Score);
        figure.lower_is_better = true;
        figures.push(figure);
    }
    let normalized = predictions.scored(accuracy(&normalized))?;
    figures.push(Figure::percent("accuracy_normalized", normalized));
    let of = |kind: &str| -> Map<String, Value> {
        let own = parts.iter().filter(|((k, _), _)| *k == kind);
        own.map(|((_, name), values)| ((*name).to_owned(), mean(values).into()))
            .collect()
    };
    Ok(Scores {
        note: Some(
            "accuracy compares texts as GQA's own tool does, letter by letter; accuracy_normalized without case, \
             articles and punctuation",
        ),
        ..Scores::new(figures)
            .with("structural", of("structural"))
            .with("semantic", of("semantic"))
            .with("samples", scored.len())
    })
}

/// How often each answer is right, and how often it was given, by group of questions.
#[derive(Default)]
struct Distribution<'a> {
    groups: BTreeMap<&'a str, [BTreeMap<&'a str, f64>; 2]>,
}

impl<'a> Distribution<'a> {
    fn add(&mut self, group: &'a str, truth: &'a str, answer: &'a str) {
        let [right, given] = self.groups.entry(group).or_default();
        *right.entry(truth).or_default() += 1.0;
        *given.entry(answer).or_default() += 1.0;
    }

    /// Mean chi-square statistic of the groups, weighted by their questions; nothing without groups.
    fn chi_square(&self) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0.0);
        for [right, given] in self.groups.values() {
            let questions: f64 = right.values().sum();
            let statistic: f64 = right
                .iter()
                .map(|(answer, expected)| {
                    let observed = given.get(answer).copied().unwrap_or(0.0);
                    (observed - expected).powi(2) / expected
                })
                .sum();
            sum += statistic * questions;
            total += questions;
        }
        (total > 0.0).then(|| sum / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTIONS: &str = r#"{
        "1": {"question": "Is it red?", "answer": "yes", "imageId": "n1", "isBalanced": true,
              "types": {"structural": "verify", "semantic": "attr", "detailed": "x"},
              "groups": {"global": "colour", "local": "a"}, "entailed": ["1", "3"]},
        "2": {"question": "What is it?", "answer": "dog", "imageId": "n1", "isBalanced": true,
              "types": {"structural": "query", "semantic": "cat"}, "groups": {"global": null}, "entailed": []},
        "3": {"question": "Is it blue?", "answer": "no", "imageId": "n1", "isBalanced": false,
              "types": {"structural": "verify", "semantic": "attr"}, "groups": {"global": "colour"}, "entailed": []}}"#;

    fn scored(predictions: &str) -> std::result::Result<Value, String> {
        let input = |name, text: &'static str| Input {
            name,
            bytes: text.as_bytes(),
        };
        let predictions: &'static str = Box::leak(predictions.to_owned().into_boxed_str());
        let scores = SCORER.score(
            input("results.json", predictions),
            Some(input("questions.json", QUESTIONS)),
        );
        Ok(scores.map_err(|e| e.to_string())?.json())
    }

    #[test]
    fn by_hand() {
        let found = scored(
            r#"[{"questionId": "1", "prediction": "yes"}, {"questionId": "2", "prediction": "a dog"},
                {"questionId": "3", "prediction": "yes"}]"#,
        )
        .unwrap();
        assert_eq!(found["accuracy"], 50.0);
        assert_eq!(
            (&found["binary"], &found["open"]),
            (&100.0.into(), &0.0.into())
        );
        assert_eq!(found["accuracy_normalized"], 100.0);
        assert_eq!(found["consistency"], 0.0);
        assert_eq!(found["distribution"], 0.0);
        assert_eq!(
            found["structural"],
            serde_json::json!({"query": 0.0, "verify": 100.0})
        );
        assert_eq!(found["samples"], 2);
    }

    #[test]
    fn only_balanced_questions_must_be_answered() {
        let both =
            r#"[{"questionId": "1", "prediction": "no"}, {"questionId": 2, "prediction": "dog"}]"#;
        let found = scored(both).unwrap();
        assert_eq!(
            (&found["accuracy"], &found["distribution"]),
            (&50.0.into(), &1.0.into())
        );
        let error = scored(r#"[{"questionId": "1", "prediction": "no"}]"#).unwrap_err();
        assert!(
            error.contains("1 of 3 questions") && error.contains("first is 2"),
            "{error}"
        );
        assert!(
            scored(r#"[{"questionId": "1"}]"#)
                .unwrap_err()
                .contains("record 0")
        );
    }
}

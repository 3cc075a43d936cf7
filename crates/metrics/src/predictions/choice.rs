//! Questions with options, each asked once or with its options in every order (MMBench).

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::input::{Id, Input, Result};
use super::scorer::{Scorer, Scores, Truth};
use crate::answer::{AnswerKind, ParseMode, judge};
use crate::circular::{CircularSample, score as score_circular};
use crate::figures::Figure;

pub(super) const SCORER: Scorer = Scorer {
    name: "multiple-choice",
    predictions: "JSON records of index, options (a list, or A, B, C, D), answer, label, and perhaps category, image, \
                  question_id; copies with turned options have index + 1000000 n (MMBench), or the same question_id",
    truth: Truth::Within(score),
};

/// Distance between the indexes of a question's copies in MMBench's files.
const COPY: i64 = 1_000_000;

#[derive(Deserialize)]
struct Row {
    index: Id,
    #[serde(default)]
    question_id: Option<Id>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(flatten)]
    columns: Map<String, Value>,
    /// What was answered, if a `label` or nothing else says what is right.
    #[serde(default)]
    answer: Option<String>,
    #[serde(default, alias = "text")]
    prediction: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    image: Option<String>,
}

impl Row {
    /// The list, or the columns `A`, `B`, … up to the first that is empty.
    fn options(&self) -> Vec<String> {
        if !self.options.is_empty() {
            return self.options.clone();
        }
        ('A'..='Z')
            .map_while(|letter| match self.columns.get(&letter.to_string()) {
                Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            })
            .collect()
    }

    /// What was answered and what is right. In MMBench's own files the right letter is `answer`.
    fn answered(&self) -> std::result::Result<[&str; 2], &'static str> {
        let Self {
            answer,
            prediction,
            label,
            ..
        } = self;
        match (answer, prediction, label) {
            (_, Some(given), Some(right))
            | (Some(given), None, Some(right))
            | (Some(right), Some(given), None) => Ok([given, right]),
            (_, None, None) => Err("no prediction, and no label"),
            (None, Some(_), None) => Err("no label"),
            (None, None, Some(_)) => Err("no answer"),
        }
    }

    /// The question without the order of its options.
    fn question(&self) -> String {
        match (&self.question_id, &self.index) {
            (Some(id), _) => id.to_string(),
            (None, Id::Number(index)) => index.rem_euclid(COPY).to_string(),
            (None, Id::Text(text)) => text.clone(),
        }
    }
}

fn score(predictions: Input<'_>) -> Result<Scores> {
    let mut seen = HashSet::new();
    let mut samples = Vec::new();
    // Of each question: how many orders there are, how many there should be, and where it was seen first.
    let mut turns: BTreeMap<String, (usize, usize, String)> = BTreeMap::new();
    for (place, row) in predictions.records::<Row>("index, options, answer, label")? {
        predictions.once(&mut seen, row.index.clone(), &place, "index")?;
        let options = row.options();
        if options.len() < 2 {
            let found = options.len().to_string();
            return Err(predictions.broken(format!("{place}, options"), "two or more", found));
        }
        let listed: Vec<&str> = options.iter().map(String::as_str).collect();
        let kind = AnswerKind::Choice(&listed);
        let [given, right] = row.answered().map_err(|found| {
            predictions.broken(&place, "an answer (or prediction) and a label", found)
        })?;
        let verdict = judge(given, &[right], kind, ParseMode::Strict);
        let verdict = verdict.map_err(|_| {
            let expected = "the letter or the words of one option";
            predictions.broken(format!("{place}, label"), expected, right)
        })?;
        let question = row.question();
        let entry = turns
            .entry(question.clone())
            .or_insert_with(|| (0, options.len(), place.clone()));
        let turn = entry.0;
        entry.0 += 1;
        samples.push(CircularSample {
            seed: 0,
            turn,
            category: row.category.unwrap_or_default(),
            image: row.image.unwrap_or_else(|| question.clone()),
            question,
            correct: verdict.correct(),
        });
    }
    let circular = turns.values().any(|(count, ..)| *count > 1);
    if circular
        && let Some((question, (count, expected, place))) = turns
            .iter()
            .find(|(_, (count, expected, _))| count != expected)
    {
        return Err(predictions.broken(
            format!("{place}, question {question}"),
            format!("{expected} records, one for each order of its options, as others have"),
            count.to_string(),
        ));
    }
    let score = predictions.scored(score_circular(&samples))?;
    let mut figures = vec![Figure::percent("accuracy", score.vanilla)];
    if circular {
        figures.insert(0, Figure::percent("circular_accuracy", score.circular));
    }
    let categories: Map<String, Value> = score
        .categories
        .iter()
        .map(|(name, interval)| (name.clone(), interval.percent().mean.into()))
        .collect();
    Ok(Scores::new(figures)
        .with("categories", categories)
        .with("samples", score.questions)
        .with("answers", score.answers)
        .with("unparseable", score.unparseable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(text: &str) -> std::result::Result<Value, String> {
        let input = Input {
            name: "choices.jsonl",
            bytes: text.as_bytes(),
        };
        let scores = SCORER.score(input, None).map_err(|e| e.to_string())?;
        Ok(scores.json())
    }

    const CIRCULAR: &str = r#"
        {"index": 7, "A": "red", "B": "blue", "answer": "A", "label": "A", "category": "colour"}
        {"index": 1000007, "A": "blue", "B": "red", "answer": "(b) red", "label": "B", "category": "colour"}
        {"index": 8, "options": ["cat", "dog"], "answer": "A", "label": "A", "category": "animal"}
        {"index": 1000008, "options": ["dog", "cat"], "answer": "A", "label": "B", "category": "animal"}"#;

    #[test]
    fn every_order_must_be_right() {
        let found = scored(CIRCULAR).unwrap();
        assert_eq!(found["circular_accuracy"], 50.0);
        assert_eq!(found["accuracy"], 100.0);
        assert_eq!(
            found["categories"],
            serde_json::json!({"animal": 0.0, "colour": 100.0})
        );
        assert_eq!(
            (&found["samples"], &found["answers"]),
            (&2.into(), &4.into())
        );
        let grouped = CIRCULAR
            .replace("\"index\": 7", "\"index\": 1, \"question_id\": \"x\"")
            .replace("\"index\": 1000007", "\"index\": 2, \"question_id\": \"x\"");
        assert_eq!(scored(&grouped).unwrap()["circular_accuracy"], 50.0);
    }

    #[test]
    fn questions_asked_once_have_one_accuracy() {
        let once: Vec<&str> = CIRCULAR
            .trim()
            .lines()
            .filter(|l| !l.contains("100000"))
            .collect();
        let found = scored(&once.join("\n")).unwrap();
        assert_eq!(
            (&found["accuracy"], found.get("circular_accuracy")),
            (&100.0.into(), None)
        );
    }

    #[test]
    fn incomplete_and_broken_records_are_named() {
        let error = scored(&CIRCULAR.replace("1000008", "9")).unwrap_err();
        assert!(
            error.contains("question 8") && error.contains("2 records"),
            "{error}"
        );
        let error = scored(&CIRCULAR.replacen("\"label\": \"A\"", "\"label\": \"C\"", 1));
        assert!(error.unwrap_err().contains("label"));
        let bare = r#"{"index": 1, "A": "x", "B": "y", "prediction": "A"}"#;
        assert!(scored(bare).unwrap_err().contains("no label"));
        let published = bare.replace("}", ", \"answer\": \"A\"}");
        assert_eq!(scored(&published).unwrap()["accuracy"], 100.0);
        let error =
            scored(&CIRCULAR.replace(r#""A": "red", "B": "blue""#, r#""A": "red""#)).unwrap_err();
        assert!(error.contains("line 2, options"), "{error}");
    }
}

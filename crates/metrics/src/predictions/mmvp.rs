//! MMVP: rows with the options of a question, what was answered and what is right; a pair counts if both are right.

use std::collections::HashSet;

use serde::Deserialize;

use super::input::{Input, Result};
use super::scorer::{Scorer, Scores, Truth};
use crate::answer::{AnswerKind, ParseMode, judge};
use crate::figures::Figure;
use crate::pairs::{PairSample, score as score_pairs};

pub(super) const SCORER: Scorer = Scorer {
    name: "mmvp",
    predictions: "JSON records of index (from 1; 1 and 2 are a pair), options, answer, label, and perhaps pattern",
    truth: Truth::Within(score),
};

#[derive(Deserialize)]
struct Row {
    index: u64,
    options: Options,
    #[serde(alias = "text")]
    answer: String,
    label: String,
    #[serde(default)]
    pattern: String,
}

/// As a list, or as the published file has them: `(a) Open (b) Closed`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Options {
    List(Vec<String>),
    Text(String),
}

impl Options {
    fn list(&self) -> Option<Vec<&str>> {
        let list: Vec<&str> = match self {
            Self::List(list) => list.iter().map(String::as_str).collect(),
            Self::Text(text) => {
                let (first, second) = text.trim().strip_prefix("(a)")?.split_once("(b)")?;
                vec![first.trim(), second.trim()]
            }
        };
        (list.len() == 2 && list.iter().all(|option| !option.is_empty())).then_some(list)
    }
}

fn score(predictions: Input<'_>) -> Result<Scores> {
    let mut seen = HashSet::new();
    let mut samples = Vec::new();
    for (place, row) in predictions.records::<Row>("index, options, answer, label")? {
        predictions.once(&mut seen, row.index, &place, "index")?;
        if row.index == 0 {
            return Err(predictions.broken(format!("{place}, index"), "a number from 1", "0"));
        }
        let options = row.options.list().ok_or_else(|| {
            predictions.broken(format!("{place}, options"), "two options", "something else")
        })?;
        let verdict = judge(
            &row.answer,
            &[&row.label],
            AnswerKind::Choice(&options),
            ParseMode::Strict,
        );
        let verdict = verdict.map_err(|_| {
            let expected = "the letter or the words of one option";
            predictions.broken(format!("{place}, label"), expected, &row.label)
        })?;
        samples.push(PairSample {
            seed: 0,
            pair: row.index.div_ceil(2).to_string(),
            pattern: row.pattern,
            correct: verdict.correct(),
        });
    }
    let score = predictions.scored(score_pairs(&samples))?;
    let patterns: serde_json::Map<String, serde_json::Value> = score
        .patterns
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, accuracy)| (name.clone(), accuracy.percent().mean.into()))
        .collect();
    Ok(Scores::new([
        Figure::percent("pair_accuracy", score.pair_accuracy).chance(25.0),
        Figure::percent("question_accuracy", score.question_accuracy).chance(50.0),
    ])
    .with("patterns", patterns)
    .with("samples", samples.len())
    .with("unparseable", score.unparseable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let text = r#"
            {"index": 1, "options": "(a) Open (b) Closed", "answer": "(a)", "label": "(a)", "pattern": "state"}
            {"index": 2, "options": "(a) Open (b) Closed", "answer": "closed", "label": "(b)", "pattern": "state"}
            {"index": 3, "options": ["left", "right"], "answer": "(b)", "label": "(a)", "pattern": "view"}
            {"index": 4, "options": ["left", "right"], "answer": "both", "label": "right", "pattern": "view"}"#;
        let score = |text: &str| {
            let input = Input {
                name: "mmvp.jsonl",
                bytes: text.as_bytes(),
            };
            SCORER.score(input, None).map(|s| s.json())
        };
        let found = score(text).unwrap();
        assert_eq!(found["pair_accuracy"], 50.0);
        assert_eq!(found["question_accuracy"], 50.0);
        assert_eq!(
            found["patterns"],
            serde_json::json!({"state": 100.0, "view": 0.0})
        );
        assert_eq!(found["unparseable"], 1);
        let error = score(&text.replace("\"index\": 4", "\"index\": 5")).unwrap_err();
        assert!(
            error.to_string().contains("mmvp.jsonl: pair \"2\""),
            "{error}"
        );
        let error = score(&text.replace("\"label\": \"right\"", "\"label\": \"up\"")).unwrap_err();
        assert!(error.to_string().contains("label") && error.to_string().contains("up"));
    }
}

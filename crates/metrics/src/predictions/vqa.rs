//! VQAv2 and its relatives: the challenge's results file and annotations.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::input::{Id, Input, Result, missing};
use super::scorer::{Scorer, Scores, Truth};
use crate::figures::Figure;
use crate::statistics::{Scored, accuracy};
use crate::vqa::official_accuracy;

pub(super) const SCORER: Scorer = Scorer {
    name: "vqa",
    predictions: "a JSON list of question_id and answer",
    truth: Truth::Beside(
        "the challenge's annotations: annotations with question_id and answers",
        score,
    ),
};

#[derive(Deserialize)]
struct Prediction {
    question_id: Id,
    answer: String,
}

#[derive(Deserialize)]
struct References {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: Id,
    #[serde(default)]
    image_id: Option<Id>,
    #[serde(default)]
    question_type: Option<String>,
    #[serde(default)]
    answer_type: Option<String>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    let mut answers: HashMap<Id, String> = HashMap::new();
    let mut seen = HashSet::new();
    for (place, row) in predictions.records::<Prediction>("question_id and answer")? {
        predictions.once(&mut seen, row.question_id.clone(), &place, "question_id")?;
        answers.insert(row.question_id, row.answer);
    }
    let content: References = references.json("annotations with question_id and answers")?;
    let known: HashSet<&Id> = content.annotations.iter().map(|a| &a.question_id).collect();
    if let Some(unknown) = answers.keys().filter(|id| !known.contains(id)).min() {
        return Err(predictions.broken(
            format!("question_id {unknown}"),
            format!("a question of {}", references.name),
            "none of it",
        ));
    }
    let without: Vec<&Id> = content
        .annotations
        .iter()
        .map(|annotation| &annotation.question_id)
        .filter(|id| !answers.contains_key(id))
        .collect();
    missing(
        predictions,
        "questions",
        &without,
        content.annotations.len(),
    )?;

    let mut scored = Vec::new();
    let mut by_answer: Groups = BTreeMap::new();
    let mut by_question: Groups = BTreeMap::new();
    for annotation in content.annotations {
        let id = annotation.question_id.to_string();
        let truths: Vec<&str> = annotation
            .answers
            .iter()
            .map(|a| a.answer.as_str())
            .collect();
        if truths.is_empty() {
            let place = format!("question_id {id}, answers");
            return Err(references.broken(place, "at least one answer", "none"));
        }
        let answer = &answers[&annotation.question_id];
        let value = predictions.scored(official_accuracy(answer, &truths))?;
        for (groups, name) in [
            (&mut by_answer, annotation.answer_type),
            (&mut by_question, annotation.question_type),
        ] {
            if let Some(name) = name {
                groups.entry(name).or_default().push(value);
            }
        }
        let image = annotation
            .image_id
            .map_or_else(|| id.clone(), |i| i.to_string());
        scored.push(Scored::new(0, image, id, value));
    }
    let interval = predictions.scored(accuracy(&scored))?;
    let values: Vec<f64> = scored.iter().map(|s| s.value).collect();
    let overall = Figure {
        mean: rounded(&values),
        ..Figure::percent("overall", interval)
    };
    Ok(Scores::new([overall.titled("VQA accuracy")])
        .with("perAnswerType", parts(&by_answer))
        .with("perQuestionType", parts(&by_question))
        .with("samples", scored.len()))
}

type Groups = BTreeMap<String, Vec<f64>>;

fn parts(groups: &Groups) -> Map<String, Value> {
    let means = groups.iter();
    means
        .map(|(name, values)| (name.clone(), rounded(values).into()))
        .collect()
}

/// Percent with two decimals, rounded as the tool rounds: to the nearest, from the exact binary value.
fn rounded(values: &[f64]) -> f64 {
    let mean = 100.0 * values.iter().sum::<f64>() / values.len() as f64;
    format!("{mean:.2}").parse().unwrap_or(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(predictions: &str, references: &str) -> std::result::Result<Value, String> {
        let input = |name, text: &'static str| Input {
            name,
            bytes: text.as_bytes(),
        };
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let scores = SCORER.score(
            input("results.json", leak(predictions)),
            Some(input("annotations.json", leak(references))),
        );
        Ok(scores.map_err(|e| e.to_string())?.json())
    }

    /// Ten answers, `matching` of them "red", the others "blue".
    fn annotation(id: u64, matching: usize) -> String {
        let answers: Vec<String> = (0..10)
            .map(|n| {
                let answer = if n < matching { "red" } else { "blue" };
                format!(r#"{{"answer": "{answer}", "answer_id": {n}, "answer_confidence": "yes"}}"#)
            })
            .collect();
        format!(
            r#"{{"question_id": {id}, "image_id": {id}, "question_type": "what color", "answer_type": "other",
                "answers": [{}]}}"#,
            answers.join(",")
        )
    }

    #[test]
    fn by_hand() {
        let references = format!(
            r#"{{"annotations": [{}, {}, {}]}}"#,
            annotation(1, 1),
            annotation(2, 2),
            annotation(3, 10)
        );
        let predictions = r#"[{"question_id": 1, "answer": "red"}, {"question_id": 2, "answer": "Red."},
            {"question_id": 3, "answer": "red"}]"#;
        let score = scored(predictions, &references).unwrap();
        // (0.3 + 0.6 + 1) / 3
        assert_eq!(score["overall"], 63.33);
        assert_eq!(score["perAnswerType"]["other"], 63.33);
        assert_eq!(score["perQuestionType"]["what color"], 63.33);
        assert_eq!(score["samples"], 3);

        let error = scored(r#"[{"question_id": 2, "answer": "x"}]"#, &references).unwrap_err();
        assert!(error.contains("results.json: 2 of 3 questions"), "{error}");
        let error = scored(r#"[{"question_id": 9, "answer": "x"}]"#, &references).unwrap_err();
        assert!(error.contains("question_id 9"), "{error}");
        let error = scored(r#"[{"question_id": 1}]"#, &references).unwrap_err();
        assert!(
            error.contains("record 0") && error.contains("answer"),
            "{error}"
        );
    }
}

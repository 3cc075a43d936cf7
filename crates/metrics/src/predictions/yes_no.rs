//! Yes/no questions (POPE, RobustVQA): records with what was answered and what is right.

use std::collections::HashSet;

use serde::Deserialize;

use super::input::{Id, Input, Result};
use super::scorer::{Scorer, Scores};
use crate::answer::{ParseMode, parse_yes_no};
use crate::yes_no::{YesNoSample, score as score_yes_no};

pub(super) const SCORER: Scorer = Scorer {
    name: "yes-no",
    predictions: "JSON records of question (or question_id, id), answer (or text), label, and perhaps image",
    references: None,
    score,
};

#[derive(Deserialize)]
struct Row {
    #[serde(alias = "question_id", alias = "id")]
    question: Id,
    #[serde(alias = "text")]
    answer: String,
    label: String,
    #[serde(default)]
    image: Option<String>,
}

fn score(predictions: Input<'_>, _: Input<'_>) -> Result<Scores> {
    let mut seen = HashSet::new();
    let mut samples = Vec::new();
    for (place, row) in predictions.records::<Row>("question, answer, label")? {
        let truth = parse_yes_no(&row.label, ParseMode::Strict).ok_or_else(|| {
            predictions.broken(format!("{place}, label"), "yes or no", &row.label)
        })?;
        let question = match &row.image {
            // The text of a question repeats from picture to picture.
            Some(image) => format!("{image} {}", row.question),
            None => row.question.to_string(),
        };
        predictions.once(&mut seen, question.clone(), &place, "question")?;
        samples.push(YesNoSample {
            seed: 0,
            image: row.image.unwrap_or_else(|| question.clone()),
            question,
            truth,
            answer: parse_yes_no(&row.answer, ParseMode::Strict),
            margin: None,
        });
    }
    let score = predictions.scored(score_yes_no(&samples))?;
    Ok(Scores::new(score.figures())
        .with("samples", score.questions)
        .with("unparseable", score.unparseable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(text: &str) -> std::result::Result<serde_json::Value, String> {
        let input = Input {
            name: "answers.jsonl",
            bytes: text.as_bytes(),
        };
        let scores = SCORER.score(input, None).map_err(|e| e.to_string())?;
        Ok(scores.json())
    }

    #[test]
    fn by_hand() {
        let lines = r#"
            {"question": "1", "answer": "Yes, there is.", "label": "yes"}
            {"question_id": 2, "text": "no", "label": "yes"}
            {"id": 3, "text": "yes", "label": "no"}
            {"id": 4, "answer": "a cat", "label": "no"}"#;
        let score = scored(lines).unwrap();
        assert_eq!(score["accuracy"], 25.0);
        assert_eq!(score["precision"], 50.0);
        assert_eq!(score["recall"], 50.0);
        assert_eq!(score["f1"], 50.0);
        assert_eq!(score["yes_ratio"], 50.0);
        assert_eq!(
            (&score["samples"], &score["unparseable"]),
            (&4.into(), &1.into())
        );
        assert!(score["intervals"]["accuracy"][0].as_f64().unwrap() < 25.0);
        let rows: Vec<&str> = lines.trim().lines().collect();
        assert_eq!(scored(&format!("[{}]", rows.join(","))).unwrap(), score);
    }

    #[test]
    fn broken_records_are_named() {
        let good = r#"{"id": 1, "text": "yes", "label": "yes"}"#;
        let error = scored(&format!("{good}\n{{\"id\": 2, \"label\": \"no\"}}")).unwrap_err();
        assert!(
            error.starts_with("answers.jsonl, line 2") && error.contains("answer"),
            "{error}"
        );
        let error = scored(&good.replace(r#"label": "yes"#, r#"label": "maybe"#)).unwrap_err();
        assert!(
            error.contains("line 1, label") && error.contains("maybe"),
            "{error}"
        );
        let error = scored(&format!("[{good}, {good}]")).unwrap_err();
        assert!(error.contains("record 1, question"), "{error}");
        let error = scored("").unwrap_err();
        assert!(error.contains("no samples"), "{error}");
        let pictures = good.replace("\"id\": 1", "\"id\": 1, \"image\": \"a.jpg\"");
        let other = pictures.replace("a.jpg", "b.jpg");
        assert_eq!(
            scored(&format!("{pictures}\n{other}")).unwrap()["samples"],
            2
        );
    }
}

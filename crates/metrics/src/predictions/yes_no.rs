//! Yes/no questions (POPE, RobustVQA): records with what was answered and what is right.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::input::{Id, Input, Result, missing};
use super::scorer::{Scorer, Scores, Truth};
use crate::answer::{ParseMode, YesNo, parse_yes_no};
use crate::yes_no::{YesNoSample, score as score_yes_no};

pub(super) const SCORER: Scorer = Scorer {
    name: "yes-no",
    predictions: "JSON records of question (or question_id, id), answer (or text), label, and perhaps image; with \
                  references, of question_id (or all questions in the references' order) and answer (or text)",
    truth: Truth::Either(
        "POPE's lists: JSON records of text, label, and perhaps question_id and image",
        score,
    ),
};

/// What was answered.
#[derive(Deserialize)]
struct Row {
    #[serde(default, alias = "id")]
    question_id: Option<Id>,
    #[serde(default)]
    question: Option<Id>,
    #[serde(default)]
    answer: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    image: Option<String>,
}

/// A line of POPE's lists.
#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    question_id: Option<Id>,
    text: String,
    label: String,
    #[serde(default)]
    image: Option<String>,
}

fn score(predictions: Input<'_>, references: Option<Input<'_>>) -> Result<Scores> {
    let samples = match references {
        Some(references) => beside(predictions, references)?,
        None => within(predictions)?,
    };
    let score = predictions.scored(score_yes_no(&samples))?;
    Ok(Scores::new(score.figures())
        .with("samples", score.questions)
        .with("unparseable", score.unparseable))
}

/// Predictions that hold what is right.
fn within(predictions: Input<'_>) -> Result<Vec<YesNoSample>> {
    let expected = "question, answer, label (or give the file of labels as --references)";
    let mut seen = HashSet::new();
    let mut samples = Vec::new();
    for (place, row) in predictions.records::<Row>(expected)? {
        let question = row.question.or(row.question_id);
        let answer = row.answer.or(row.text);
        let (Some(question), Some(answer), Some(label)) = (question, answer, row.label) else {
            return Err(predictions.broken(place, expected, "not all of them"));
        };
        let question = match &row.image {
            // The text of a question repeats from picture to picture.
            Some(image) => format!("{image} {question}"),
            None => question.to_string(),
        };
        predictions.once(&mut seen, question.clone(), &place, "question")?;
        samples.push(YesNoSample {
            seed: 0,
            image: row.image.unwrap_or_else(|| question.clone()),
            question,
            truth: truth(predictions, &place, &label)?,
            answer: parse_yes_no(&answer, ParseMode::Strict),
            margin: None,
        });
    }
    Ok(samples)
}

/// Predictions for a list of questions: by the questions' numbers, or one after the other in the list's order.
fn beside(predictions: Input<'_>, references: Input<'_>) -> Result<Vec<YesNoSample>> {
    let expected = "question_id and answer (or text)";
    let rows = predictions.records::<Row>(expected)?;
    let list = references.records::<Reference>("text, label, and perhaps question_id and image")?;
    let in_order = rows.len() == list.len()
        && rows.iter().zip(&list).all(|((_, row), (_, reference))| {
            let asked = row.question.as_ref().map(Id::to_string);
            row.question_id.is_none() && asked.is_some_and(|text| text == reference.text)
        });
    let mut answers: HashMap<Id, String> = HashMap::new();
    let mut seen = HashSet::new();
    for (number, (place, row)) in rows.into_iter().enumerate() {
        let id = if in_order {
            Some(counted(number))
        } else {
            row.question_id.or(row.question)
        };
        let (Some(id), Some(answer)) = (id, row.answer.or(row.text)) else {
            return Err(predictions.broken(place, expected, "not both"));
        };
        predictions.once(&mut seen, id.clone(), &place, "question_id")?;
        answers.insert(id, answer);
    }
    let mut samples = Vec::new();
    let mut without = Vec::new();
    let mut asked = HashSet::new();
    for (number, (place, reference)) in list.into_iter().enumerate() {
        let written = reference.question_id.filter(|_| !in_order);
        let id = written.unwrap_or_else(|| counted(number));
        references.once(&mut asked, id.clone(), &place, "question_id")?;
        let Some(answer) = answers.remove(&id) else {
            without.push(id);
            continue;
        };
        samples.push(YesNoSample {
            seed: 0,
            image: reference.image.unwrap_or_else(|| id.to_string()),
            question: id.to_string(),
            truth: truth(references, &place, &reference.label)?,
            answer: parse_yes_no(&answer, ParseMode::Strict),
            margin: None,
        });
    }
    missing(predictions, "questions", &without, asked.len())?;
    if let Some(stranger) = answers.keys().min() {
        let place = format!("question_id {stranger}");
        return Err(predictions.broken(
            place,
            format!("a question of {}", references.name),
            "none of it",
        ));
    }
    Ok(samples)
}

/// The number of a question that has none: its place, from 1.
fn counted(place: usize) -> Id {
    Id::Number(place as i64 + 1)
}

fn truth(file: Input<'_>, place: &str, label: &str) -> Result<YesNo> {
    parse_yes_no(label, ParseMode::Strict)
        .ok_or_else(|| file.broken(format!("{place}, label"), "yes or no", label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(text: &str) -> std::result::Result<serde_json::Value, String> {
        judged(text, None)
    }

    fn judged(text: &str, list: Option<&str>) -> std::result::Result<serde_json::Value, String> {
        let input = |name, text: &'static str| Input {
            name,
            bytes: text.as_bytes(),
        };
        let leak = |text: &str| -> &'static str { String::from(text).leak() };
        let list = list.map(|list| input("coco_pope_random.json", leak(list)));
        let scores = SCORER.score(input("answers.jsonl", leak(text)), list);
        Ok(scores.map_err(|e| e.to_string())?.json())
    }

    const LIST: &str = r#"{"question_id": 1, "image": "a.jpg", "text": "Is there a cat?", "label": "yes"}
        {"question_id": 2, "image": "a.jpg", "text": "Is there a car?", "label": "no"}
        {"question_id": 3, "image": "b.jpg", "text": "Is there a cat?", "label": "no"}"#;

    #[test]
    fn lists_of_pope_judge_answers_by_number_or_in_their_order() {
        let llava = r#"{"question_id": 2, "prompt": "Is there a car?", "text": "No", "answer_id": "x"}
            {"question_id": 1, "prompt": "Is there a cat?", "text": "Yes, there is."}
            {"question_id": 3, "prompt": "Is there a cat?", "text": "yes"}"#;
        let pope = r#"{"question": "Is there a cat?", "answer": "yes"}
            {"question": "Is there a car?", "answer": "no"}
            {"question": "Is there a cat?", "answer": "yes"}"#;
        let score = judged(llava, Some(LIST)).unwrap();
        assert_eq!(
            (&score["samples"], &score["recall"], &score["precision"]),
            (&3.into(), &100.0.into(), &50.0.into())
        );
        assert_eq!(judged(pope, Some(LIST)).unwrap(), score);
        let error = |text: &str| judged(text, Some(LIST)).unwrap_err();
        let first: Vec<&str> = llava.lines().take(1).collect();
        let found = error(&first.join(""));
        assert!(
            found.contains("2 of 3 questions") && found.contains("first is 1"),
            "{found}"
        );
        let found = error(&llava.replace("\"question_id\": 3", "\"question_id\": 2"));
        assert!(found.contains("line 3, question_id"), "{found}");
        let found = error(&format!(
            "{llava}\n{{\"question_id\": 9, \"text\": \"no\"}}"
        ));
        assert!(found.contains("question_id 9"), "{found}");
        let found = error(r#"{"prompt": "Is there a cat?", "text": "no"}"#);
        assert!(found.contains("line 1"), "{found}");
        let found = judged(llava, Some(&LIST.replace("\"yes\"", "\"maybe\""))).unwrap_err();
        assert!(
            found.starts_with("coco_pope_random.json, line 1, label"),
            "{found}"
        );
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

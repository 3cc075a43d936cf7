//! Open questions with the answers of ten people, in the VQA challenge's two files: questions, and annotations.
//!
//! VQAv2 and OK-VQA have the same layout under other names. Pictures are COCO's, anywhere below the folder.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct Questions {
    questions: Vec<Question>,
    #[serde(default)]
    data_subtype: Option<String>,
}

#[derive(Deserialize)]
struct Question {
    question_id: u64,
    image_id: u64,
    question: String,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    #[serde(default)]
    answer_type: Option<String>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// Reads VQAv2: `v2_OpenEnded_mscoco_val2014_questions.json` and `v2_mscoco_val2014_annotations.json`.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and question; `Empty`.
pub fn read_vqav2(folder: &Path) -> Result<Vec<Item>, DataError> {
    read(
        folder,
        ["v2_OpenEnded_mscoco_", "v2_mscoco_"],
        "v2_OpenEnded_mscoco_val2014_questions.json and v2_mscoco_val2014_annotations.json",
    )
}

/// Reads OK-VQA: `OpenEnded_mscoco_val2014_questions.json` and `mscoco_val2014_annotations.json`.
///
/// # Errors
/// As [`read_vqav2`].
pub fn read_okvqa(folder: &Path) -> Result<Vec<Item>, DataError> {
    read(
        folder,
        ["OpenEnded_mscoco_", "mscoco_"],
        "OpenEnded_mscoco_val2014_questions.json and mscoco_val2014_annotations.json",
    )
}

fn read(
    folder: &Path,
    [questions, annotations]: [&str; 2],
    expected: &str,
) -> Result<Vec<Item>, DataError> {
    let find = |start: &str, end: &str| {
        one_file(folder, expected, |name: &str| {
            name.starts_with(start) && name.ends_with(end)
        })
    };
    let file = find(questions, "_questions.json")?;
    let asked: Loaded<Questions> =
        read_json(&file, "questions with question_id, image_id, question")?;
    let file = find(annotations, "_annotations.json")?;
    let answered: Loaded<Annotations> =
        read_json(&file, "annotations with question_id and answers")?;
    items(folder, &asked, answered)
}

fn items(
    folder: &Path,
    asked: &Loaded<Questions>,
    answered: Loaded<Annotations>,
) -> Result<Vec<Item>, DataError> {
    let pictures = PictureFolder::open(folder)?;
    let name = answered.name;
    let mut answers: HashMap<u64, Annotation> = HashMap::new();
    for annotation in answered.content.annotations {
        let place = format!("question_id {}", annotation.question_id);
        if annotation.answers.is_empty() {
            return Err(DataError::malformed(
                &name,
                format!("{place}, answers"),
                "at least one",
                "none",
            ));
        }
        if answers.insert(annotation.question_id, annotation).is_some() {
            return Err(DataError::malformed(
                &name,
                place,
                "each question once",
                "it again",
            ));
        }
    }
    let split = asked.content.data_subtype.as_deref().unwrap_or("val2014");
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for question in &asked.content.questions {
        let place = format!("question_id {}", question.question_id);
        asked.once(&mut seen, &question.question_id, &place)?;
        let Some(annotation) = answers.remove(&question.question_id) else {
            return Err(asked.broken(place, format!("an annotation in {name}"), "none"));
        };
        let picture = coco_picture(&pictures, split, question.image_id, &asked.name, &place)?;
        items.push(Item {
            question: question.question.clone(),
            answers: annotation.answers.into_iter().map(|a| a.answer).collect(),
            cluster: question.image_id.to_string(),
            pattern: annotation.answer_type,
            ..Item::new(question.question_id.to_string(), split, picture)
        });
    }
    if let Some(stranger) = answers.keys().min() {
        let place = format!("question_id {stranger}");
        let expected = format!("a question of {}", asked.name);
        return Err(DataError::malformed(&name, place, expected, "none"));
    }
    asked.some(items)
}

/// A picture of COCO by its number: `COCO_val2014_000000000042.jpg`, or, as COCO 2017 has it, `000000000042.jpg`.
pub(super) fn coco_picture(
    pictures: &PictureFolder,
    split: &str,
    id: u64,
    file: &str,
    place: &str,
) -> Result<super::Picture, DataError> {
    let plain = format!("{id:012}.jpg");
    if pictures.has(&plain) {
        return pictures.of_record(&plain, file, place);
    }
    pictures.of_record(&format!("COCO_{split}_{plain}"), file, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTIONS: &str = r#"{"info": {}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {},
        "data_subtype": "val2014", "questions": [
        {"image_id": 42, "question": "What color are the gym shoes?", "question_id": 42000},
        {"image_id": 42, "question": "Is there a red sandal here?", "question_id": 42001}]}"#;

    fn annotations(second: u64) -> String {
        let answers = |word: &str| {
            let one = |id: u64| {
                format!(r#"{{"answer": "{word}", "answer_confidence": "yes", "answer_id": {id}}}"#)
            };
            (1..=10).map(one).collect::<Vec<_>>().join(",")
        };
        format!(
            r#"{{"info": {{}}, "annotations": [
            {{"question_type": "what color are the", "multiple_choice_answer": "white", "answers": [{}],
              "image_id": 42, "answer_type": "other", "question_id": 42000}},
            {{"question_type": "is there a", "multiple_choice_answer": "yes", "answers": [{}],
              "image_id": 42, "answer_type": "yes/no", "question_id": {second}}}]}}"#,
            answers("white"),
            answers("yes")
        )
    }

    fn folder(questions: &str, annotations: &str, prefix: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: String, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            format!("{prefix}OpenEnded_mscoco_val2014_questions.json"),
            questions,
        );
        write(
            format!("{prefix}mscoco_val2014_annotations.json"),
            annotations,
        );
        std::fs::create_dir(folder.path().join("val2014")).unwrap();
        write("val2014/COCO_val2014_000000000042.jpg".into(), "x");
        folder
    }

    #[test]
    fn both_files_of_the_challenge_are_joined() {
        let v2 = folder(QUESTIONS, &annotations(42001), "v2_");
        let items = read_vqav2(v2.path()).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(
            (items[0].answers.len(), items[0].answers[0].as_str()),
            (10, "white")
        );
        assert_eq!(items[1].pattern.as_deref(), Some("yes/no"));
        assert_eq!(items[0].cluster, items[1].cluster);
        assert!(items[0].picture.id().starts_with("COCO_val2014_"));
        let ok = folder(QUESTIONS, &annotations(42001), "");
        assert_eq!(read_okvqa(ok.path()).unwrap().len(), 2);
        let error = read_vqav2(ok.path()).unwrap_err().to_string();
        assert!(
            error.contains("v2_OpenEnded_mscoco_val2014_questions.json"),
            "{error}"
        );
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let error = |questions: &str, annotations: &str| {
            let folder = folder(questions, annotations, "v2_");
            read_vqav2(folder.path()).unwrap_err().to_string()
        };
        let found = error(QUESTIONS, &annotations(7));
        assert!(
            found.contains("question_id 42001") && found.contains("annotation"),
            "{found}"
        );
        let found = error(&QUESTIONS.replace("42001", "42000"), &annotations(42001));
        assert!(found.contains("each once"), "{found}");
        let found = error(QUESTIONS, &annotations(42000));
        assert!(found.contains("it again"), "{found}");
        let found = error(r#"{"questions": [{"question_id": "x"}]}"#, &annotations(1));
        assert!(found.contains("line 1"), "{found}");
    }
}

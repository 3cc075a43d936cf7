//! VizWiz-VQA: pictures that blind people took, and what they asked. `val.json` (or another split, perhaps in
//! `Annotations`) is a list of `image`, `question`, `answers`, `answer_type`, `answerable`.

use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct Question {
    image: String,
    question: String,
    answers: Vec<Answer>,
    #[serde(default)]
    answer_type: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// Reads a VizWiz folder with one annotated split.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and question; `Empty`.
pub fn read_vizwiz(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = one_file(folder, "val.json or train.json", |name| {
        matches!(name, "val.json" | "train.json")
    })?;
    let split = file.file_stem().unwrap_or_default().to_string_lossy();
    let loaded: Loaded<Vec<Question>> = read_json(&file, "a list of image, question and answers")?;
    let pictures = PictureFolder::open(folder)?;
    let mut items = Vec::new();
    for (number, question) in loaded.content.iter().enumerate() {
        let place = format!("question {number}");
        if question.answers.is_empty() {
            return Err(loaded.broken(format!("{place}, answers"), "at least one", "none"));
        }
        let picture = pictures.of_record(&question.image, &loaded.name, &place)?;
        items.push(Item {
            question: question.question.clone(),
            answers: question.answers.iter().map(|a| a.answer.clone()).collect(),
            cluster: question.image.clone(),
            pattern: question.answer_type.clone(),
            // The challenge names questions by their pictures, one each; the number keeps others apart.
            ..Item::new(
                format!("{}/{number}", question.image),
                split.as_ref(),
                picture,
            )
        });
    }
    loaded.some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("Annotations")).unwrap();
        std::fs::write(folder.path().join("Annotations/val.json"), text).unwrap();
        read_vizwiz(folder.path())
    }

    #[test]
    fn the_published_layout_is_read() {
        let items = read(
            r#"[{"answerable": 1, "image": "VizWiz_val_00000001.jpg", "question": "Ok. There is another picture I hope it is a better one.",
                "answer_type": "other", "answers": [{"answer": "basil leaves", "answer_confidence": "yes"},
                {"answer": "basil", "answer_confidence": "maybe"}]}]"#,
        )
        .unwrap();
        assert_eq!(items[0].answers, ["basil leaves", "basil"]);
        assert_eq!(
            (items[0].part.as_str(), items[0].picture.id().as_str()),
            ("val", "VizWiz_val_00000001.jpg")
        );
    }

    #[test]
    fn broken_questions_are_named() {
        let error = read(r#"[{"image": "a.jpg", "question": "?", "answers": []}]"#).unwrap_err();
        assert!(error.to_string().contains("question 0, answers"), "{error}");
        // The test split has no answers.
        let error = read(r#"[{"image": "a.jpg", "question": "?"}]"#).unwrap_err();
        assert!(error.to_string().contains("answers"), "{error}");
        assert!(matches!(read("[]"), Err(DataError::Empty { .. })));
    }
}

//! TextVQA: questions about writing in pictures. `TextVQA_0.5.1_val.json` holds `data`, a list of `question_id`,
//! `question`, `image_id` and ten `answers`; pictures are OpenImages' `train_images/<image_id>.jpg`.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct File {
    data: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question_id: u64,
    question: String,
    image_id: String,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    set_name: Option<String>,
}

/// Reads a TextVQA folder with one annotated split.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and question; `Empty`.
pub fn read_text_vqa(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "TextVQA_0.5.1_val.json";
    let file = one_file(folder, expected, |name| {
        name.starts_with("TextVQA_")
            && (name.ends_with("_val.json") || name.ends_with("_train.json"))
    })?;
    let loaded: Loaded<File> = read_json(
        &file,
        "data: a list of question_id, question, image_id, answers",
    )?;
    let pictures = PictureFolder::open(folder)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for question in &loaded.content.data {
        let place = format!("question_id {}", question.question_id);
        loaded.once(&mut seen, &question.question_id, &place)?;
        if question.answers.is_empty() {
            return Err(loaded.broken(format!("{place}, answers"), "at least one", "none"));
        }
        let name = format!("{}.jpg", question.image_id);
        let picture = pictures.of_record(&name, &loaded.name, &place)?;
        let part = question.set_name.as_deref().unwrap_or("val");
        items.push(Item {
            question: question.question.clone(),
            answers: question.answers.clone(),
            cluster: question.image_id.clone(),
            ..Item::new(question.question_id.to_string(), part, picture)
        });
    }
    loaded.some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("TextVQA_0.5.1_val.json"), text).unwrap();
        read_text_vqa(folder.path())
    }

    const ONE: &str = r#"{"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": [
        {"question": "what is the brand of this camera?", "image_id": "003a8ae2ef43b901", "image_classes": ["Camera"],
         "flickr_original_url": "x", "image_width": 1024, "image_height": 664, "question_id": 34602, "set_name": "val",
         "question_tokens": ["what"], "answers": ["nous les gosses", "dakota", "clos culombu", "dakota digital",
         "dakota", "dakota", "dakota digital", "dakota digital", "dakota", "dakota"]}]}"#;

    #[test]
    fn the_published_layout_is_read() {
        let items = read(ONE).unwrap();
        assert_eq!(
            (items[0].answers.len(), items[0].part.as_str()),
            (10, "val")
        );
        assert_eq!(items[0].picture.id(), "003a8ae2ef43b901.jpg");
    }

    #[test]
    fn broken_files_are_named() {
        let error = read(&ONE.replace("\"answers\"", "\"others\"")).unwrap_err();
        assert!(
            error.to_string().contains("question_id 34602, answers"),
            "{error}"
        );
        let error = read(&ONE.replace("34602", "\"x\"")).unwrap_err();
        assert!(
            error.to_string().contains("TextVQA_0.5.1_val.json"),
            "{error}"
        );
    }
}

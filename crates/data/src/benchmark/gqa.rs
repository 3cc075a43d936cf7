//! GQA: `testdev_balanced_questions.json` (or `val_balanced_questions.json`), an object of question id to `question`,
//! `answer`, `imageId`, `types`; pictures are `<imageId>.jpg` anywhere below the folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct Question {
    question: String,
    answer: String,
    #[serde(rename = "imageId")]
    image_id: String,
    #[serde(default)]
    types: Types,
}

#[derive(Default, Deserialize)]
struct Types {
    #[serde(default)]
    structural: Option<String>,
}

const END: &str = "_balanced_questions.json";

/// Reads a GQA folder with one balanced split. Open and yes/no-like (binary) questions are its patterns.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and question; `Empty`.
pub fn read_gqa(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = one_file(folder, "testdev_balanced_questions.json", |name| {
        name.ends_with(END)
    })?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let split = name.strip_suffix(END).unwrap_or_default().to_owned();
    let loaded: Loaded<BTreeMap<String, Question>> = read_json(
        &file,
        "an object of questions by id, with question, answer, imageId",
    )?;
    let pictures = PictureFolder::open(folder)?;
    let mut items = Vec::new();
    for (id, question) in &loaded.content {
        let picture = format!("{}.jpg", question.image_id);
        let picture = pictures.of_record(&picture, &loaded.name, &format!("question {id}"))?;
        let structural = question.types.structural.as_deref();
        items.push(Item {
            question: question.question.clone(),
            answers: vec![question.answer.clone()],
            cluster: question.image_id.clone(),
            pattern: structural
                .map(|kind| if kind == "query" { "open" } else { "binary" }.to_owned()),
            ..Item::new(id, &split, picture)
        });
    }
    loaded.some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("testdev_balanced_questions.json"), text).unwrap();
        read_gqa(folder.path())
    }

    const TWO: &str = r#"{"201307251": {"semantic": [], "entailed": [], "equivalent": ["201307251"], "question": "Is it overcast?",
        "imageId": "n161313", "isBalanced": true, "groups": {"global": null, "local": "13-weather"}, "answer": "no",
        "types": {"detailed": "weatherVerify", "semantic": "global", "structural": "verify"}, "fullAnswer": "No."},
        "201640614": {"question": "Who is wearing the dress?", "imageId": "n235859", "answer": "woman",
        "types": {"structural": "query"}}}"#;

    #[test]
    fn the_published_layout_is_read() {
        let items = read(TWO).unwrap();
        assert_eq!(
            (items[0].id.as_str(), items[0].part.as_str()),
            ("201307251", "testdev")
        );
        assert_eq!(items[0].pattern.as_deref(), Some("binary"));
        assert_eq!(items[1].pattern.as_deref(), Some("open"));
        assert_eq!(items[1].picture.id(), "n235859.jpg");
    }

    #[test]
    fn broken_files_are_named() {
        let error = read(&TWO.replace("\"answer\"", "\"reply\""))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("testdev_balanced") && error.contains("answer"),
            "{error}"
        );
        assert!(matches!(read("{}"), Err(DataError::Empty { .. })));
    }
}

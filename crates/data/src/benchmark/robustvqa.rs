//! RobustVQA: one JSON object with the lists `imagenet_a`, `imagenet_r` and `imagenet_v2`; each entry
//! names a picture, its true label and the label that an encoder mistook it for.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::item::{Item, Picture, Suite};
use crate::DataError;
use crate::text::protocol::{MAIN_OBJECT, fill};

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    imagenet_a: Vec<Entry>,
    #[serde(default)]
    imagenet_r: Vec<Entry>,
    #[serde(default)]
    imagenet_v2: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    file_name: String,
    gt_caption: String,
    error_caption: String,
}

/// Two questions about one picture: with the true label (yes) and with the mistaken one (no).
pub(crate) fn questions(
    suite: Suite,
    picture: &Picture,
    truth: &str,
    mistaken: &str,
    provenance: &[String],
) -> [Item; 2] {
    let ask = |label: &str, answer: &str| Item {
        id: format!("{}/{}/{answer}", suite.part(), picture.id()),
        suite,
        picture: picture.clone(),
        mask: None,
        question: fill(MAIN_OBJECT, &[("noun", label)]),
        options: None,
        answers: vec![answer.to_owned()],
        label: Some(label.to_owned()),
        cluster: picture.id(),
        pattern: None,
        provenance: provenance.to_vec(),
    };
    [ask(truth, "yes"), ask(mistaken, "no")]
}

/// Reads a RobustVQA file; pictures are looked up in `images` when they are needed.
///
/// # Errors
/// `Io`; `Malformed` naming file, list and entry; `Empty`.
pub fn read_robustvqa(file: &Path, images: &Path) -> Result<Vec<Item>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let lists: File = serde_json::from_str(&text).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        let expected =
            "lists imagenet_a, imagenet_r, imagenet_v2 of {file_name, gt_caption, error_caption}";
        DataError::malformed(&name, place, expected, e.to_string())
    })?;
    let mut items = Vec::new();
    for (list, suite, entries) in [
        ("imagenet_a", Suite::RobustVqaA, &lists.imagenet_a),
        ("imagenet_r", Suite::RobustVqaR, &lists.imagenet_r),
        ("imagenet_v2", Suite::RobustVqaV, &lists.imagenet_v2),
    ] {
        for (number, entry) in entries.iter().enumerate() {
            if entry.gt_caption == entry.error_caption {
                let place = format!("{list}[{number}]");
                return Err(DataError::malformed(
                    &name,
                    place,
                    "two different labels",
                    &entry.gt_caption,
                ));
            }
            let picture = Picture::File(images.join(&entry.file_name));
            let mut pair = questions(
                suite,
                &picture,
                &entry.gt_caption,
                &entry.error_caption,
                &[],
            );
            for item in &mut pair {
                // File names repeat across the folders of the real sets.
                item.cluster = entry.file_name.clone();
                let answer = &item.answers[0];
                item.id = format!("{}/{}/{answer}", suite.part(), entry.file_name);
            }
            items.extend(pair);
        }
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "none of its three lists has an entry".into(),
        });
    }
    Ok(items)
}

/// Writes RobustVQA items (pairs of questions as made here or by [`read_robustvqa`]); pictures go to `images`.
///
/// # Errors
/// `Io`; `Malformed` if a question lacks its counterpart.
pub fn write_robustvqa(items: &[&Item], file: &Path, images: &Path) -> Result<(), DataError> {
    let mut lists = File::default();
    let name = file.display().to_string();
    for pair in items.chunks(2) {
        let labels = match pair {
            [yes, no] if yes.cluster == no.cluster => yes.label.clone().zip(no.label.clone()),
            _ => None,
        };
        let Some((gt_caption, error_caption)) = labels else {
            return Err(DataError::malformed(
                &name,
                &pair[0].id,
                "a yes and a no question with labels",
                "one of them",
            ));
        };
        pair[0].picture.write(images)?;
        let entry = Entry {
            file_name: pair[0].picture.id(),
            gt_caption,
            error_caption,
        };
        match pair[0].suite {
            Suite::RobustVqaA => lists.imagenet_a.push(entry),
            Suite::RobustVqaV => lists.imagenet_v2.push(entry),
            _ => lists.imagenet_r.push(entry),
        }
    }
    let json = serde_json::to_vec_pretty(&lists).map_err(|e| DataError::io(file, e.into()))?;
    super::store::write_file(file, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("robustvqa.json");
        std::fs::write(&file, text).unwrap();
        read_robustvqa(&file, folder.path())
    }

    #[test]
    fn the_published_layout_gives_two_questions_a_picture() {
        let items = read(
            r#"{"imagenet_a": [{"file_name": "n01/1.jpg", "gt_caption": "goldfish", "error_caption": "lemon"}],
                "imagenet_r": [], "imagenet_v2": [{"file_name": "2.jpg", "gt_caption": "cat", "error_caption": "dog"}]}"#,
        )
        .unwrap();
        let asked: Vec<(String, &str)> = items
            .iter()
            .map(|i| (i.prompt(), i.answers[0].as_str()))
            .collect();
        let prompt =
            |l: &str| format!("Is {l} the main object in this image? Please answer yes or no.");
        assert_eq!(
            asked,
            [
                (prompt("goldfish"), "yes"),
                (prompt("lemon"), "no"),
                (prompt("cat"), "yes"),
                (prompt("dog"), "no")
            ]
        );
        assert_eq!(
            (items[0].suite, items[2].suite),
            (Suite::RobustVqaA, Suite::RobustVqaV)
        );
        assert_ne!(items[0].id, items[1].id);
    }

    #[test]
    fn broken_files_are_named() {
        let error = read(r#"{"imagenet_a": [{"file_name": "1.jpg", "gt_caption": "x"}]}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("robustvqa.json") && error.contains("error_caption"),
            "{error}"
        );
        let same =
            r#"{"imagenet_r": [{"file_name": "1.jpg", "gt_caption": "x", "error_caption": "x"}]}"#;
        assert!(
            read(same)
                .unwrap_err()
                .to_string()
                .contains("imagenet_r[0]")
        );
        assert!(read(r#"{"imagenet_b": []}"#).is_err());
        assert!(matches!(read("{}"), Err(DataError::Empty { .. })));
    }
}

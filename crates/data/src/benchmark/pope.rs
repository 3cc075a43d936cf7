//! POPE: `coco_pope_{random,popular,adversarial}.json` (any of them; also in `coco` or `output/coco`, as its repository and
//! LLaVA's archive have them), a JSON object with `image`, `text` and `label` on each line, or a list of them; pictures
//! anywhere below the folder.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{layout, names, read_records, write_file};
use super::{Item, PictureFolder};
use crate::DataError;

/// The splits, by how absent objects were chosen.
pub const POPE_SPLITS: [&str; 3] = ["random", "popular", "adversarial"];

/// Where the lists lie, from the folder on.
const PLACES: [&str; 3] = ["", "coco", "output/coco"];

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default)]
    question_id: Option<u64>,
    image: String,
    text: String,
    label: String,
}

fn file_name(split: &str) -> String {
    format!("coco_pope_{split}.json")
}

/// Reads a POPE folder; pictures are read when they are needed.
///
/// # Errors
/// `Io`; `Malformed` naming the folder if it has none of the files, else file, line and field; `Empty`.
pub fn read_pope(folder: &Path) -> Result<Vec<Item>, DataError> {
    let splits = POPE_SPLITS.map(|split| (split, file_name(split)));
    let has_lists = |place: &PathBuf| splits.iter().any(|(_, file)| place.join(file).is_file());
    let mut places = PLACES.iter().map(|place| folder.join(place));
    let Some(lists) = places.find(has_lists) else {
        let expected = splits.map(|(_, file)| file).join(", ");
        let expected = format!("any of {expected}, here or in {}", PLACES[1..].join(", "));
        return Err(layout(folder, expected, &names(folder)?));
    };
    let pictures = PictureFolder::open(folder)?;
    let mut items = Vec::new();
    for (split, file) in splits {
        let file = lists.join(file);
        if file.is_file() {
            items.extend(read_split(&file, split, &pictures)?);
        }
    }
    Ok(items)
}

fn read_split(file: &Path, split: &str, pictures: &PictureFolder) -> Result<Vec<Item>, DataError> {
    let loaded = read_records::<Line>(file, "an object with image, text and label")?;
    let name = loaded.name;
    let mut items: Vec<Item> = Vec::new();
    let mut ids = HashSet::new();
    for (number, (place, line)) in loaded.content.into_iter().enumerate() {
        let label = line.label.trim().to_lowercase();
        if label != "yes" && label != "no" {
            return Err(DataError::malformed(
                &name,
                format!("{place}, label"),
                "yes or no",
                line.label,
            ));
        }
        let id = line.question_id.unwrap_or(number as u64 + 1);
        if !ids.insert(id) {
            return Err(DataError::malformed(
                &name,
                format!("{place}, question_id"),
                "each number once",
                id.to_string(),
            ));
        }
        let picture = pictures.of_record(&line.image, &name, &place)?;
        items.push(Item {
            question: line.text,
            answers: vec![label],
            cluster: line.image,
            ..Item::new(format!("{split}/{id}"), split, picture)
        });
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "it should hold one JSON object a line, or a list of them".into(),
        });
    }
    Ok(items)
}

/// Writes POPE items in the layout that [`read_pope`] reads; pictures go to `images`.
///
/// # Errors
/// `Io`.
pub fn write_pope(items: &[Item], folder: &Path) -> Result<(), DataError> {
    for split in POPE_SPLITS {
        let file = folder.join(file_name(split));
        let mut out = Vec::new();
        for (number, item) in items.iter().filter(|i| i.part == split).enumerate() {
            item.picture.write(&folder.join("images"))?;
            let line = Line {
                question_id: Some(number as u64 + 1),
                image: item.picture.id(),
                text: item.question.clone(),
                label: item.answers.first().cloned().unwrap_or_default(),
            };
            let json = serde_json::to_string(&line).map_err(|e| DataError::io(&file, e.into()))?;
            writeln!(out, "{json}").map_err(|e| DataError::io(&file, e))?;
        }
        if !out.is_empty() {
            write_file(&file, &out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("coco_pope_random.json");
        std::fs::write(&file, text).unwrap();
        read_pope(folder.path())
    }

    #[test]
    fn the_published_layout_is_read() {
        let items = read(
            "{\"question_id\": 1, \"image\": \"COCO_val2014_000000310196.jpg\", \"text\": \"Is there a snowboard in the image?\", \"label\": \"yes\"}\n\
             {\"question_id\": 2, \"image\": \"COCO_val2014_000000310196.jpg\", \"text\": \"Is there a car in the image?\", \"label\": \"no\"}\n",
        )
        .unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[1].answers, ["no"]);
        assert_eq!(items[0].question, "Is there a snowboard in the image?");
        assert_eq!(items[0].cluster, items[1].cluster);
    }

    #[test]
    fn lists_and_marks_of_byte_order_are_read() {
        let line = |image: &str, text: &str| {
            format!("{{\"image\": \"{image}\", \"text\": \"{text}\", \"label\": \"no\"}}")
        };
        let (first, second) = (line("a.jpg", "A?"), line("b.jpg", "B?"));
        let questions = |text: &str| -> Vec<String> {
            let items = read(text).unwrap();
            items.into_iter().map(|item| item.question).collect()
        };
        assert_eq!(questions(&format!("[{first},\n{second}]")), ["A?", "B?"]);
        assert_eq!(
            questions(&format!("\u{feff}{first}\n{second}")),
            ["A?", "B?"]
        );
        let error = read(&format!("[{first}, {{\"image\": \"b.jpg\"}}]"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("record 2") && error.contains("text"),
            "{error}"
        );
        assert!(matches!(read("[]"), Err(DataError::Empty { .. })));
    }

    #[test]
    fn broken_lines_are_named() {
        let good = "{\"image\": \"a.jpg\", \"text\": \"?\", \"label\": \"yes\"}\n";
        let error = read(&format!("{good}{{\"image\": \"a.jpg\"}}\n"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2") && error.contains("text"),
            "{error}"
        );
        let error = read(&good.replace("yes", "maybe")).unwrap_err().to_string();
        assert!(
            error.contains("line 1, label") && error.contains("maybe"),
            "{error}"
        );
        let numbered = good.replace("{", "{\"question_id\": 7, ");
        let error = read(&format!("{numbered}{numbered}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2, question_id"), "{error}");
        assert!(read("[1, 2]").is_err());
        assert!(matches!(read("\n"), Err(DataError::Empty { .. })));
    }

    #[test]
    fn lists_lie_where_the_repository_and_llava_have_them() {
        for place in ["coco", "output/coco"] {
            let folder = tempfile::tempdir().unwrap();
            let lists = folder.path().join(place);
            std::fs::create_dir_all(&lists).unwrap();
            let line = "{\"image\": \"a.jpg\", \"text\": \"?\", \"label\": \"yes\"}";
            std::fs::write(lists.join("coco_pope_popular.json"), line).unwrap();
            assert_eq!(
                read_pope(folder.path()).unwrap()[0].part,
                "popular",
                "{place}"
            );
        }
    }

    #[test]
    fn folders_without_questions_or_with_two_pictures_of_a_name_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pope.json"), "").unwrap();
        let error = read_pope(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("coco_pope_popular.json") && error.contains("found pope.json"),
            "{error}"
        );
        let line = "{\"image\": \"a.jpg\", \"text\": \"?\", \"label\": \"yes\"}";
        std::fs::write(folder.path().join("coco_pope_popular.json"), line).unwrap();
        assert_eq!(read_pope(folder.path()).unwrap()[0].part, "popular");
        for place in ["images", "val2014"] {
            std::fs::create_dir(folder.path().join(place)).unwrap();
            std::fs::write(folder.path().join(place).join("a.jpg"), "").unwrap();
        }
        let error = read_pope(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("images/a.jpg and"),
            "{error}"
        );
    }
}

//! POPE: `coco_pope_{random,popular,adversarial}.json`, a JSON object with `image`, `text` and `label`
//! on each line.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::item::{Item, Picture, Suite};
use crate::DataError;

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default)]
    question_id: Option<u64>,
    image: String,
    text: String,
    label: String,
}

/// File name of a suite.
pub(super) fn file_name(suite: Suite) -> String {
    format!("coco_pope_{}.json", suite.part())
}

/// Reads one POPE file; pictures are looked up in `images` when they are needed.
///
/// # Errors
/// `Io`; `Malformed` naming file, line and field; `Empty`.
pub fn read_pope(file: &Path, images: &Path, suite: Suite) -> Result<Vec<Item>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let mut items = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let place = format!("line {}", number + 1);
        let line: Line = serde_json::from_str(line).map_err(|e| {
            DataError::malformed(
                &name,
                &place,
                "an object with image, text and label",
                e.to_string(),
            )
        })?;
        let label = line.label.trim().to_lowercase();
        if label != "yes" && label != "no" {
            return Err(DataError::malformed(
                &name,
                format!("{place}, label"),
                "yes or no",
                line.label,
            ));
        }
        items.push(Item {
            id: format!(
                "{}/{}",
                suite.part(),
                line.question_id.unwrap_or(number as u64 + 1)
            ),
            suite,
            picture: Picture::File(images.join(&line.image)),
            mask: None,
            question: line.text,
            options: None,
            answers: vec![label],
            label: None,
            cluster: line.image,
            pattern: None,
            provenance: vec![],
        });
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "it should hold one JSON object a line".into(),
        });
    }
    Ok(items)
}

/// Writes the items of one POPE part; their pictures go to `images`.
///
/// # Errors
/// `Io`.
pub fn write_pope(items: &[&Item], file: &Path, images: &Path) -> Result<(), DataError> {
    let mut out = Vec::new();
    for (number, item) in items.iter().enumerate() {
        item.picture.write(images)?;
        let line = Line {
            question_id: Some(number as u64 + 1),
            image: item.picture.id(),
            text: item.question.clone(),
            label: item.answers.first().cloned().unwrap_or_default(),
        };
        let json = serde_json::to_string(&line).map_err(|e| DataError::io(file, e.into()))?;
        writeln!(out, "{json}").map_err(|e| DataError::io(file, e))?;
    }
    super::store::write_file(file, &out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("coco_pope_random.json");
        std::fs::write(&file, text).unwrap();
        read_pope(&file, folder.path(), Suite::PopeRandom)
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
        assert_eq!(
            items[0].prompt(),
            "Is there a snowboard in the image? Please answer yes or no."
        );
        assert_eq!(items[0].cluster, items[1].cluster);
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
        assert!(read("[1, 2]").is_err());
        assert!(matches!(read("\n"), Err(DataError::Empty { .. })));
    }
}

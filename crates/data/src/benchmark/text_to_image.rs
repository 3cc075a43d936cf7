//! Texts of which pictures are to be drawn: COCO's captions, or Localized Narratives about COCO's pictures.
//!
//! LN-COCO: `coco_val_localized_narratives.jsonl` (one file or shards of it), a line for each narrative with `image_id`
//! and `caption`; COCO: `captions_val2014.json`. The picture of an item is the real one, where it is there.

use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, names, one_file, read_records};
use super::vqa::coco_picture;
use super::{Item, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct Narrative {
    image_id: String,
    caption: String,
    #[serde(default)]
    annotator_id: Option<u64>,
}

/// Texts to draw, from a folder with COCO's captions: the first caption of each picture.
///
/// # Errors
/// As [`super::read_coco_captions`].
pub fn read_coco_texts(folder: &Path) -> Result<Vec<Item>, DataError> {
    let items = super::read_coco_captions(folder)?;
    Ok(items.into_iter().map(drawn).collect())
}

/// Texts to draw, from a folder with Localized Narratives about COCO.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and line; `Empty`.
pub fn read_narratives(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "coco_val_localized_narratives.jsonl";
    let chosen = |name: &str| name.starts_with("coco_") && name.ends_with(".jsonl");
    let shards: Vec<_> = names(folder)?.into_iter().filter(|n| chosen(n)).collect();
    let files = if shards.len() > 1 {
        shards.iter().map(|name| folder.join(name)).collect()
    } else {
        vec![one_file(folder, expected, chosen)?]
    };
    let pictures = PictureFolder::open(folder)?;
    let mut items = Vec::new();
    let mut name = String::new();
    for file in files {
        let loaded = read_records::<Narrative>(&file, "an object with image_id and caption")?;
        name = loaded.name;
        for (number, (place, narrative)) in loaded.content.into_iter().enumerate() {
            let id: u64 = narrative.image_id.parse().map_err(|_| {
                DataError::malformed(
                    &name,
                    format!("{place}, image_id"),
                    "COCO's number",
                    &narrative.image_id,
                )
            })?;
            let picture = coco_picture(&pictures, "val2014", id, &name, &place)?;
            let by = narrative.annotator_id.unwrap_or_default();
            let answers = vec![narrative.caption.trim().to_owned()];
            items.push(drawn(Item {
                answers,
                ..Item::new(format!("{id}/{by}/{}", number + 1), "texts", picture)
            }));
        }
    }
    Loaded { name, content: () }.some(items)
}

/// A described picture as a text to draw.
fn drawn(item: Item) -> Item {
    Item {
        question: item.answers.first().cloned().unwrap_or_default(),
        part: "texts".to_owned(),
        ..item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let name = "coco_val_localized_narratives.jsonl";
        std::fs::write(folder.path().join(name), text).unwrap();
        read_narratives(folder.path())
    }

    const LINE: &str = r#"{"dataset_id": "mscoco_val2017", "image_id": "137576", "annotator_id": 93, "caption": "In this image there are group of cows. ", "timed_caption": []}"#;

    #[test]
    fn narratives_are_read() {
        let items = read(&format!("{LINE}\n{LINE}\n")).unwrap();
        assert_eq!(items[0].question, "In this image there are group of cows.");
        assert_ne!(items[0].id, items[1].id);
        assert_eq!(items[0].picture.id(), "COCO_val2014_000000137576.jpg");
        let error = read(&LINE.replace("caption", "words"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1") && error.contains("caption"),
            "{error}"
        );
        assert!(
            read(&LINE.replace("137576", "x"))
                .unwrap_err()
                .to_string()
                .contains("image_id")
        );
    }
}

//! Region descriptions in a COCO-style file: `images` (id, file_name, width, height) and `annotations`
//! (image_id, segmentation, and `caption` or a list of `captions`).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::{only_json, write_file};
use super::{Item, Mask, PictureFolder};
use crate::DataError;
use crate::image::ImageLimits;
use crate::segmentation::{Segmentation, encode_rle};

const FILE: &str = "region.json";

#[derive(Serialize, Deserialize)]
struct File {
    images: Vec<ImageEntry>,
    annotations: Vec<Annotation>,
}

#[derive(Serialize, Deserialize)]
struct ImageEntry {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Serialize, Deserialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    segmentation: Segmentation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    captions: Vec<String>,
}

/// Reads a folder with a region file (`region.json`, or the only JSON file); pictures anywhere below it are read when
/// they are needed.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and annotation; `ImageTooLarge` by the sizes in the file; `Empty`.
pub fn read_regions(folder: &Path, limits: ImageLimits) -> Result<Vec<Item>, DataError> {
    let file = &only_json(folder, FILE)?;
    let pictures = PictureFolder::open(folder)?;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let content: File = serde_json::from_str(&text).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        DataError::malformed(&name, place, "COCO's images and annotations", e.to_string())
    })?;
    let by_id: HashMap<u64, &ImageEntry> = content.images.iter().map(|i| (i.id, i)).collect();
    let mut items = Vec::new();
    let mut ids = HashSet::new();
    for annotation in content.annotations {
        let place = format!("annotation {}", annotation.id);
        if !ids.insert(annotation.id) {
            let found = annotation.id.to_string();
            return Err(DataError::malformed(&name, place, "each id once", found));
        }
        let Some(entry) = by_id.get(&annotation.image_id) else {
            let found = format!("image_id {}", annotation.image_id);
            return Err(DataError::malformed(
                &name,
                place,
                "an image of the list",
                found,
            ));
        };
        if u64::from(entry.width) * u64::from(entry.height) > limits.max_pixels {
            return Err(DataError::ImageTooLarge {
                name: entry.file_name.clone(),
                width: entry.width,
                height: entry.height,
                limit: limits.max_pixels,
            });
        }
        let mask = annotation
            .segmentation
            .mask(entry.width, entry.height)
            .map_err(|(expected, found)| {
                DataError::malformed(&name, format!("{place}, segmentation"), expected, found)
            })?;
        let answers: Vec<String> = annotation
            .caption
            .into_iter()
            .chain(annotation.captions)
            .collect();
        if answers.is_empty() {
            return Err(DataError::malformed(
                &name,
                place,
                "a caption or captions",
                "neither",
            ));
        }
        items.push(Item {
            mask: Some(Mask::Pixels(Arc::new(mask))),
            answers,
            cluster: entry.file_name.clone(),
            ..Item::new(
                format!("region/{}", annotation.id),
                "captions",
                pictures.of_record(&entry.file_name, &name, &place)?,
            )
        });
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "it has no annotation".into(),
        });
    }
    Ok(items)
}

/// Writes region items in the layout that [`read_regions`] reads; pictures go to `images`.
///
/// # Errors
/// `Io`; `Malformed` if an item has no mask.
pub fn write_regions(items: &[Item], folder: &Path) -> Result<(), DataError> {
    let file = &folder.join(FILE);
    let name = file.display().to_string();
    let mut content = File {
        images: vec![],
        annotations: vec![],
    };
    let mut known: HashMap<String, u64> = HashMap::new();
    for (number, item) in items.iter().enumerate() {
        let Some(Mask::Pixels(mask)) = &item.mask else {
            return Err(DataError::malformed(&name, &item.id, "a mask", "none"));
        };
        let next = content.images.len() as u64 + 1;
        let image_id = *known.entry(item.picture.id()).or_insert(next);
        if image_id == next {
            item.picture.write(&folder.join("images"))?;
            let (width, height) = mask.dimensions();
            content.images.push(ImageEntry {
                id: next,
                file_name: item.picture.id(),
                width,
                height,
            });
        }
        content.annotations.push(Annotation {
            id: number as u64 + 1,
            image_id,
            segmentation: encode_rle(mask),
            caption: None,
            captions: item.answers.clone(),
        });
    }
    let json = serde_json::to_vec(&content).map_err(|e| DataError::io(file, e.into()))?;
    write_file(file, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        read_regions(folder.path(), ImageLimits { max_pixels: 1000 })
    }

    const GOOD: &str = r#"{"images": [{"id": 7, "file_name": "a.jpg", "width": 4, "height": 2}],
        "annotations": [{"id": 1, "image_id": 7, "caption": "a red cat", "iscrowd": 0,
                         "segmentation": {"counts": [2, 4, 2], "size": [2, 4]}},
                        {"id": 2, "image_id": 7, "captions": ["a bus", "the bus"],
                         "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}]}"#;

    fn pixels(item: &Item) -> image::GrayImage {
        let mask = item.mask.as_ref().unwrap();
        mask.pixels(&item.id, [4, 2]).unwrap()
    }

    #[test]
    fn runs_and_polygons_are_read() {
        let items = read(GOOD).unwrap();
        assert_eq!(items[0].answers, ["a red cat"]);
        assert_eq!(
            pixels(&items[0]).as_raw(),
            &[0, 255, 255, 0, 0, 255, 255, 0]
        );
        assert_eq!(items[1].answers.len(), 2);
        assert_eq!(
            pixels(&items[1]).as_raw(),
            &[255, 255, 0, 0, 255, 255, 0, 0]
        );
    }

    #[test]
    fn broken_annotations_are_named() {
        let error = |text: String| read(&text).unwrap_err().to_string();
        assert!(
            error(GOOD.replace(
                "\"image_id\": 7, \"captions\"",
                "\"image_id\": 8, \"captions\""
            ))
            .contains("image_id 8")
        );
        assert!(
            error(GOOD.replace("[2, 4, 2]", "[2, 4, 3]")).contains("annotation 1, segmentation")
        );
        assert!(error(GOOD.replace("[\"a bus\", \"the bus\"]", "[]")).contains("annotation 2"));
        assert!(error(GOOD.replace("\"width\": 4", "\"width\": 4000")).contains("limit"));
        assert!(error(GOOD.replace("annotations", "notes")).contains("region.json"));
        assert!(error(r#"{"images": [], "annotations": []}"#.into()).contains("empty"));
    }
}

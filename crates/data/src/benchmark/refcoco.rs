//! RefCOCO, RefCOCO+ and RefCOCOg: what people say to point at an object. Each folder has `instances.json` (COCO's images
//! and segmentations) and a pickled list of expressions, `refs(unc).p`, `refs(umd).p` or `refs(google).p`, which is read
//! by a reader of plain data that executes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::files::{Loaded, one_file, read_json};
use super::{Item, Mask, PictureFolder};
use crate::DataError;
use crate::pickle;
use crate::segmentation::Segmentation;

#[derive(Deserialize)]
struct Expression {
    ref_id: u64,
    ann_id: u64,
    image_id: u64,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    sent: String,
}

#[derive(Deserialize)]
struct Instances {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    id: u64,
    segmentation: Segmentation,
}

/// Largest file of expressions: RefCOCO's has 40 MB.
const LARGEST: u64 = 1 << 30;

/// Reads one of the three: all splits but the training one, each as a part.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and expression; `Empty`.
pub fn read_refcoco(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "one of refs(unc).p, refs(umd).p, refs(google).p";
    let file = one_file(folder, expected, |name| {
        name.starts_with("refs(") && name.ends_with(").p")
    })?;
    let expressions = expressions(&file)?;
    let file = one_file(folder, "instances.json", |name| name == "instances.json")?;
    let instances: Loaded<Instances> = read_json(&file, "COCO's images and annotations")?;
    let pictures = PictureFolder::open(folder)?;
    let images: HashMap<u64, &Image> = instances.content.images.iter().map(|i| (i.id, i)).collect();
    let annotations = instances.content.annotations.iter();
    let regions: HashMap<u64, &Annotation> = annotations.map(|a| (a.id, a)).collect();
    let mut items = Vec::new();
    for expression in &expressions.content {
        if expression.split == "train" {
            continue;
        }
        let place = format!("ref_id {}", expression.ref_id);
        let Some(image) = images.get(&expression.image_id) else {
            let expected = format!("an image of {}", instances.name);
            return Err(expressions.broken(
                place,
                expected,
                format!("image_id {}", expression.image_id),
            ));
        };
        let Some(region) = regions.get(&expression.ann_id) else {
            let expected = format!("an annotation of {}", instances.name);
            return Err(expressions.broken(
                place,
                expected,
                format!("ann_id {}", expression.ann_id),
            ));
        };
        if expression.sentences.is_empty() {
            return Err(expressions.broken(place, "a sentence", "none"));
        }
        let picture = pictures.of_record(&image.file_name, &instances.name, &place)?;
        let sentences = expression.sentences.iter();
        items.push(Item {
            mask: Some(Mask::Segmentation(Arc::new(region.segmentation.clone()))),
            answers: sentences.map(|s| s.sent.trim().to_owned()).collect(),
            ..Item::new(expression.ref_id.to_string(), &expression.split, picture)
        });
    }
    items.sort_by(|a, b| a.part.cmp(&b.part)); // stable: splits together, in the file's order
    expressions.some(items)
}

fn expressions(file: &Path) -> Result<Loaded<Vec<Expression>>, DataError> {
    let name = file.display().to_string();
    let size = std::fs::metadata(file)
        .map_err(|e| DataError::io(file, e))?
        .len();
    if size > LARGEST {
        let expected = format!("at most {LARGEST} bytes");
        return Err(DataError::malformed(
            &name,
            "file",
            expected,
            format!("{size} bytes"),
        ));
    }
    let bytes = std::fs::read(file).map_err(|e| DataError::io(file, e))?;
    let expected = "a pickled list of ref_id, ann_id, image_id, split, sentences";
    let broken = |found: String| DataError::malformed(&name, "pickle", expected, found);
    let list = pickle::read(&bytes).map_err(broken)?;
    let content = serde_json::from_value(list).map_err(|e| broken(e.to_string()))?;
    Ok(Loaded { name, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageLimits;

    const INSTANCES: &str = r#"{"info": {}, "images": [{"id": 8, "file_name": "COCO_train2014_000000000008.jpg", "height": 2, "width": 4}],
        "annotations": [{"id": 1, "image_id": 8, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}], "categories": []}"#;

    /// As `pickle.dump(refs, file, protocol=0)` writes it.
    fn pickled(split: &str, annotation: u64) -> Vec<u8> {
        format!(
            "(lp0\n(dp1\nVref_id\nI0\nsVann_id\nI{annotation}\nsVimage_id\nI8\nsVsplit\nV{split}\nsVcategory_id\nI1\n\
             sVsentences\n(lp2\n(dp3\nVraw\nVLeft one\nsVsent\nVleft one\nsVsent_id\nI3\nsasa\
             (dp4\nVref_id\nI1\nsVann_id\nI1\nsVimage_id\nI8\nsVsplit\nVtrain\nsVsentences\n(lp5\nsa."
        )
        .into_bytes()
    }

    fn read(pickle: &[u8]) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("refs(unc).p"), pickle).unwrap();
        std::fs::write(folder.path().join("instances.json"), INSTANCES).unwrap();
        let picture = image::RgbImage::new(4, 2);
        picture
            .save(folder.path().join("COCO_train2014_000000000008.jpg"))
            .unwrap();
        let items = read_refcoco(folder.path())?;
        for item in &items {
            let (sample, _) = item.sample(vec![], ImageLimits::default())?;
            let mask = sample.images[0].mask.as_ref().unwrap();
            assert_eq!(mask.as_raw(), &[255, 255, 0, 0, 255, 255, 0, 0]);
        }
        Ok(items)
    }

    #[test]
    fn expressions_and_regions_are_joined() {
        let items = read(&pickled("testA", 1)).unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(
            (items[0].part.as_str(), items[0].answers[0].as_str()),
            ("testA", "left one")
        );
    }

    #[test]
    fn strings_of_python_2_are_read() {
        // Protocol 0 as cPickle wrote it.
        let text = b"(lp1\n(dp2\nS'ref_id'\nI5\nsS'ann_id'\nI1\nsS'image_id'\nI8\nsS'split'\nS'val'\nsS'sentences'\n(lp3\n(dp4\nS'sent'\nS'red hat'\nsasa.";
        let items = read(text).unwrap();
        assert_eq!(
            (items[0].id.as_str(), items[0].answers[0].as_str()),
            ("5", "red hat")
        );
    }

    #[test]
    fn broken_files_and_programs_are_refused() {
        let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(error(&pickled("val", 9)).contains("ann_id 9"));
        assert!(error(b"cos\nsystem\n(S'true'\ntR.").contains("refs(unc).p, pickle"));
        assert!(error(&pickled("val", 1)[..20]).contains("pickle"));
        assert!(matches!(
            read(&pickled("train", 1)),
            Err(DataError::Empty { .. })
        ));
    }
}

//! Pictures with the captions that people wrote, in the layouts in which they are published: COCO's annotations, the
//! Karpathy splits, NoCaps, Flickr30k's token file, and Visual Genome's paragraphs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::files::{Loaded, layout, names, one_file, read_json};
use super::{Item, Picture, PictureFolder};
use crate::DataError;

#[derive(Deserialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoCaption>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: u64,
    file_name: String,
    /// NoCaps: how far from COCO's categories it is.
    #[serde(default)]
    domain: Option<String>,
}

#[derive(Deserialize)]
struct CocoCaption {
    image_id: u64,
    caption: String,
}

#[derive(Deserialize)]
struct Karpathy {
    images: Vec<KarpathyImage>,
}

#[derive(Deserialize)]
struct KarpathyImage {
    filename: String,
    /// COCO's number of the image.
    #[serde(default)]
    cocoid: Option<u64>,
    #[serde(default)]
    filepath: Option<String>,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

/// Reads COCO captions: the Karpathy test split of `dataset_coco.json`, or all of a `captions_val2014.json` (where
/// `captions_train2014.json` lies beside it, too).
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file and picture; `Empty`.
pub fn read_coco_captions(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "dataset_coco.json (Karpathy's splits), or one captions_*.json";
    if let Ok(file) = one_file(folder, expected, |name| name == "dataset_coco.json") {
        return karpathy(folder, &file);
    }
    let is_list = |name: &str| name.starts_with("captions_") && name.ends_with(".json");
    let validation = |name: &str| is_list(name) && name.starts_with("captions_val");
    let file = one_file(folder, expected, validation);
    let file = file.or_else(|_| one_file(folder, expected, is_list))?;
    coco(folder, &file)
}

/// Reads NoCaps: `nocaps_val_4500_captions.json`. The domains are its patterns.
///
/// # Errors
/// As [`read_coco_captions`].
pub fn read_nocaps(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = one_file(folder, "nocaps_val_4500_captions.json", |name| {
        name.starts_with("nocaps_") && name.ends_with("_captions.json")
    })?;
    coco(folder, &file)
}

/// Reads Flickr30k: the Karpathy test split of `dataset_flickr30k.json`, or all of `results_20130124.token`.
///
/// # Errors
/// As [`read_coco_captions`].
pub fn read_flickr30k(folder: &Path) -> Result<Vec<Item>, DataError> {
    let expected = "dataset_flickr30k.json (Karpathy's splits), or results_20130124.token";
    if let Ok(file) = one_file(folder, expected, |name| name == "dataset_flickr30k.json") {
        return karpathy(folder, &file);
    }
    let file = one_file(folder, expected, |name| name.ends_with(".token"))?;
    tokens(folder, &file)
}

/// Every picture of COCO's two lists that has a caption.
fn coco(folder: &Path, file: &Path) -> Result<Vec<Item>, DataError> {
    let loaded: Loaded<Coco> = read_json(file, "COCO's images and annotations with captions")?;
    let pictures = PictureFolder::open(folder)?;
    let mut captions: HashMap<u64, Vec<String>> = HashMap::new();
    for annotation in &loaded.content.annotations {
        let own = captions.entry(annotation.image_id).or_default();
        own.push(annotation.caption.clone());
    }
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for image in &loaded.content.images {
        let place = format!("image {}", image.id);
        loaded.once(&mut seen, &image.id, &place)?;
        let Some(answers) = captions.remove(&image.id) else {
            return Err(loaded.broken(place, "a caption", "none"));
        };
        let picture = pictures.of_record(&image.file_name, &loaded.name, &place)?;
        items.push(Item {
            pattern: image.domain.clone(),
            ..described(image.id.to_string(), picture, answers)
        });
    }
    if let Some(stranger) = captions.keys().min() {
        return Err(loaded.broken(
            "annotations",
            "images of the list",
            format!("image_id {stranger}"),
        ));
    }
    loaded.some(items)
}

/// The test split of a file of Karpathy's.
fn karpathy(folder: &Path, file: &Path) -> Result<Vec<Item>, DataError> {
    let loaded: Loaded<Karpathy> =
        read_json(file, "images with filename, split and sentences (raw)")?;
    let pictures = PictureFolder::open(folder)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for image in loaded
        .content
        .images
        .iter()
        .filter(|image| image.split == "test")
    {
        let place = format!("image {}", image.filename);
        loaded.once(&mut seen, &image.filename, &place)?;
        if image.sentences.is_empty() {
            return Err(loaded.broken(place, "a sentence", "none"));
        }
        let path = match &image.filepath {
            Some(folder) => format!("{folder}/{}", image.filename),
            None => image.filename.clone(),
        };
        let picture = pictures.of_record(&path, &loaded.name, &place)?;
        let answers = image.sentences.iter().map(|s| s.raw.trim().to_owned());
        // COCO's number, where there is one, is what its annotations know the image by.
        let number = image.cocoid.map(|number| number.to_string());
        let id = number.unwrap_or_else(|| image.filename.clone());
        items.push(described(id, picture, answers.collect()));
    }
    loaded.some(items)
}

/// Lines of `1000092795.jpg#0`, a tab, and a caption.
fn tokens(folder: &Path, file: &Path) -> Result<Vec<Item>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let pictures = PictureFolder::open(folder)?;
    let mut captions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let parts = line.split_once('\t').and_then(|(head, caption)| {
            let (image, index) = head.split_once('#')?;
            index.parse::<u32>().ok()?;
            Some((image, caption))
        });
        let Some((image, caption)) = parts else {
            let place = format!("line {}", number + 1);
            return Err(DataError::malformed(
                &name,
                place,
                "NAME.jpg#N, a tab, a caption",
                line,
            ));
        };
        captions
            .entry(image)
            .or_default()
            .push(caption.trim().to_owned());
    }
    let mut items = Vec::new();
    for (image, answers) in captions {
        let picture = pictures.of_record(image, &name, image)?;
        items.push(described(image, picture, answers));
    }
    Loaded { name, content: () }.some(items)
}

#[derive(Deserialize)]
struct Paragraph {
    image_id: u64,
    paragraph: String,
}

/// Reads Stanford's paragraphs: `paragraphs_v1.json`, and `test_split.json` with the numbers of its pictures; pictures are
/// Visual Genome's `<image_id>.jpg`.
///
/// # Errors
/// As [`read_coco_captions`].
pub fn read_image_paragraphs(folder: &Path) -> Result<Vec<Item>, DataError> {
    let (all, split) = ("paragraphs_v1.json", "test_split.json");
    let found = names(folder)?;
    if ![all, split]
        .iter()
        .all(|file| found.iter().any(|name| name == file))
    {
        return Err(layout(folder, format!("{all} and {split}"), &found));
    }
    let loaded: Loaded<Vec<Paragraph>> =
        read_json(&folder.join(all), "a list of image_id and paragraph")?;
    let test: Loaded<Vec<u64>> = read_json(&folder.join(split), "a list of image numbers")?;
    let pictures = PictureFolder::open(folder)?;
    let mut by_image: HashMap<u64, Vec<String>> = HashMap::new();
    for entry in &loaded.content {
        let own = by_image.entry(entry.image_id).or_default();
        own.push(entry.paragraph.trim().to_owned());
    }
    let mut items = Vec::new();
    for id in &test.content {
        let Some(answers) = by_image.remove(id) else {
            return Err(test.broken(
                format!("image {id}"),
                format!("a paragraph in {all}, and the image once"),
                "none",
            ));
        };
        let picture =
            pictures.of_record(&format!("{id}.jpg"), &test.name, &format!("image {id}"))?;
        items.push(described(id.to_string(), picture, answers));
    }
    test.some(items)
}

/// A picture to be described.
fn described(id: impl Into<String>, picture: Picture, captions: Vec<String>) -> Item {
    Item {
        answers: captions,
        ..Item::new(id, "captions", picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const COCO: &str = r#"{"info": {}, "licenses": [], "images": [
        {"id": 9, "file_name": "COCO_val2014_000000000009.jpg", "height": 480, "width": 640},
        {"id": 7, "file_name": "b.jpg", "domain": "near-domain"}],
        "annotations": [{"image_id": 9, "id": 1, "caption": "A red bus."}, {"image_id": 7, "id": 2, "caption": "Two cats."},
        {"image_id": 9, "id": 3, "caption": "A bus in the street."}]}"#;

    #[test]
    fn annotations_of_coco_and_nocaps_are_read() {
        let items = read_coco_captions(folder(&[("captions_val2014.json", COCO)]).path()).unwrap();
        assert_eq!(items[0].answers, ["A red bus.", "A bus in the street."]);
        assert_eq!(items[0].picture.id(), "COCO_val2014_000000000009.jpg");
        let both = [
            ("captions_train2014.json", "{}"),
            ("captions_val2014.json", COCO),
        ];
        let beside = read_coco_captions(folder(&both).path()).unwrap();
        assert_eq!(beside.len(), items.len());
        let items = read_nocaps(folder(&[("nocaps_val_4500_captions.json", COCO)]).path()).unwrap();
        assert_eq!(items[1].pattern.as_deref(), Some("near-domain"));
    }

    #[test]
    fn karpathys_test_split_is_taken() {
        let text = r#"{"dataset": "coco", "images": [
            {"filepath": "val2014", "filename": "a.jpg", "split": "test", "imgid": 0, "cocoid": 1, "sentids": [0],
             "sentences": [{"tokens": ["a"], "raw": "A man. ", "imgid": 0, "sentid": 0}]},
            {"filepath": "train2014", "filename": "b.jpg", "split": "restval", "sentences": []}]}"#;
        let items = read_coco_captions(folder(&[("dataset_coco.json", text)]).path()).unwrap();
        assert_eq!((items.len(), items[0].answers[0].as_str()), (1, "A man."));
        let items = read_flickr30k(folder(&[("dataset_flickr30k.json", text)]).path()).unwrap();
        assert_eq!(items[0].id, "1");
    }

    #[test]
    fn flickrs_token_file_is_read() {
        let text = "1.jpg#0\tTwo young guys .\n1.jpg#1\tTwo men .\n0.jpg#0\tA dog .\n";
        let items = read_flickr30k(folder(&[("results_20130124.token", text)]).path()).unwrap();
        assert_eq!((items.len(), items[1].answers.len()), (2, 2));
        let broken = text.replace("1.jpg#1\t", "1.jpg ");
        let error =
            read_flickr30k(folder(&[("results_20130124.token", &broken)]).path()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn paragraphs_of_the_test_split_are_read() {
        let all = r#"[{"url": "x", "image_id": 5, "paragraph": "A cat sits. It is red. "}, {"image_id": 6, "paragraph": "B."}]"#;
        let files = |split: &'static str| {
            folder(&[("paragraphs_v1.json", all), ("test_split.json", split)])
        };
        let items = read_image_paragraphs(files("[5]").path()).unwrap();
        assert_eq!(
            (items[0].answers[0].as_str(), items[0].picture.id().as_str()),
            ("A cat sits. It is red.", "5.jpg")
        );
        let error = read_image_paragraphs(files("[5, 5]").path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("image 5"), "{error}");
        let error =
            read_image_paragraphs(folder(&[("paragraphs_v1.json", all)]).path()).unwrap_err();
        assert!(error.to_string().contains("test_split.json"), "{error}");
    }

    #[test]
    fn broken_files_are_named() {
        let error = |text: &str| {
            let folder = folder(&[("captions_val2014.json", text)]);
            read_coco_captions(folder.path()).unwrap_err().to_string()
        };
        assert!(error(&COCO.replace("\"image_id\": 7", "\"image_id\": 9")).contains("image 7"));
        assert!(error(&COCO.replace("\"image_id\": 7", "\"image_id\": 70")).contains("image 7"));
        assert!(error(&COCO.replace("\"id\": 7", "\"id\": 9")).contains("each once"));
        assert!(error("[]").contains("captions_val2014.json"));
        assert!(
            read_coco_captions(folder(&[]).path())
                .unwrap_err()
                .to_string()
                .contains("dataset_coco.json")
        );
    }
}

//! Pictures and the texts that belong to them, each of which is to be found by the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::candidates::{CandidatePicture, CandidateText, Candidates};
use super::files::{layout, names};
use super::shards::shards_of;
use super::{Item, Picture, PictureFolder, read_coco_captions, read_flickr30k};
use crate::DataError;
use crate::source::OneOrMore;

/// Names of the two parts.
pub const RETRIEVAL_PARTS: [&str; 2] = ["text_to_image", "image_to_text"];

/// A picture with the texts that belong to it.
struct Described {
    name: String,
    picture: Picture,
    texts: Vec<String>,
}

/// Reads pictures with captions, in any of these layouts:
///
/// - COCO's or Flickr30k's, as published (`dataset_*.json`, `captions_*.json`, `*.token`);
/// - JSON Lines of `image` and `caption`, a text or a list of them, in one `*.jsonl`; pictures anywhere below;
/// - a table with a header in one `*.csv` or `*.tsv`, columns `image` (or `filepath`, `file_name`) and `caption` (or `title`,
///   `text`); several rows of a picture are several captions;
/// - WebDataset shards, `*.tar`; `caption` as of the source `webdataset`.
///
/// First come the questions of texts for pictures, then those of pictures for texts. Texts that are written alike are one, which
/// then has several right pictures.
///
/// # Errors
/// `Io`; `Malformed` naming folder or file, and record; `Empty`.
pub fn read_retrieval(folder: &Path, caption: Option<&str>) -> Result<Vec<Item>, DataError> {
    let pairs = pairs(folder, caption)?;
    if pairs.len() < 2 {
        return Err(DataError::malformed(
            folder.display().to_string(),
            "pictures",
            "two or more, among which to find",
            pairs.len().to_string(),
        ));
    }
    Ok(questions(pairs))
}

fn pairs(folder: &Path, caption: Option<&str>) -> Result<Vec<Described>, DataError> {
    if let Some(shards) = shards_of(folder, caption)? {
        let pair = |index: u64| {
            let (id, text) = shards.caption(index)?;
            Ok::<_, DataError>(Described {
                picture: Picture::Shard {
                    shards: shards.clone(),
                    index,
                    id: id.clone(),
                },
                name: id,
                texts: vec![text],
            })
        };
        return (0..shards.len()).map(pair).collect();
    }
    let found = names(folder)?;
    let of_kind = |ending: &str| {
        let mut own = found.iter().filter(|name| name.ends_with(ending));
        (own.next(), own.next())
    };
    for (ending, read) in [
        (".jsonl", json_lines as Read),
        (".csv", table as Read),
        (".tsv", table as Read),
    ] {
        if let (Some(name), None) = of_kind(ending) {
            return described(folder, &folder.join(name), read);
        }
    }
    let coco = found
        .iter()
        .any(|name| name.starts_with("captions_") || name == "dataset_coco.json");
    let flickr = found
        .iter()
        .any(|name| name.ends_with(".token") || name == "dataset_flickr30k.json");
    let items = match (coco, flickr) {
        (true, _) => read_coco_captions(folder)?,
        (_, true) => read_flickr30k(folder)?,
        _ => match read_coco_captions(folder) {
            Ok(items) => items,
            Err(_) => {
                let expected = "captions: dataset_coco.json, captions_*.json, dataset_flickr30k.json, *.token, one .jsonl, .csv or \
                                .tsv, or shards *.tar";
                return Err(layout(folder, expected, &found));
            }
        },
    };
    let items = items.into_iter().map(|item| Described {
        name: item.id,
        picture: item.picture,
        texts: item.answers,
    });
    Ok(items.collect())
}

/// Rows of a file: its line, the picture's name and its texts.
type Rows = Vec<(usize, String, Vec<String>)>;
type Read = fn(&Path) -> Result<Rows, DataError>;

fn described(folder: &Path, file: &Path, read: Read) -> Result<Vec<Described>, DataError> {
    let name = file.display().to_string();
    let mut of_picture: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for (line, image, texts) in read(file)? {
        if let Some(empty) = texts.iter().find(|text| text.trim().is_empty()) {
            return Err(DataError::malformed(
                &name,
                format!("line {line}"),
                "a caption",
                format!("{empty:?}"),
            ));
        }
        of_picture
            .entry(image)
            .or_insert((line, Vec::new()))
            .1
            .extend(texts);
    }
    let pictures = PictureFolder::open(folder)?;
    let pairs = of_picture.into_iter().map(|(image, (line, texts))| {
        Ok::<_, DataError>(Described {
            picture: pictures.of_record(&image, &name, &format!("line {line}"))?,
            name: image,
            texts,
        })
    });
    pairs.collect()
}

#[derive(Deserialize)]
struct Line {
    image: String,
    caption: OneOrMore,
}

fn json_lines(file: &Path) -> Result<Rows, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(number, line)| {
        let place = format!("line {}", number + 1);
        let expected = "{\"image\": \"a.jpg\", \"caption\": \"…\"}";
        let read: Line = serde_json::from_str(line)
            .map_err(|error| DataError::malformed(&name, &place, expected, error.to_string()))?;
        if read.caption.all().is_empty() {
            return Err(DataError::malformed(
                &name,
                place,
                "a caption",
                "an empty list",
            ));
        }
        Ok::<_, DataError>((number + 1, read.image, read.caption.all().to_vec()))
    });
    rows.collect()
}

fn table(file: &Path) -> Result<Rows, DataError> {
    let name = file.display().to_string();
    let tabs = file.extension().is_some_and(|ending| ending == "tsv");
    let delimiter = if tabs { b'\t' } else { b',' };
    let reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_path(file);
    let broken = |place: String, error: csv::Error| {
        DataError::malformed(&name, place, "a table with a header", error.to_string())
    };
    let mut reader = reader.map_err(|error| broken("the file".into(), error))?;
    let header = reader
        .headers()
        .map_err(|error| broken("line 1".into(), error))?
        .clone();
    let column = |names: [&str; 3]| {
        let place = header
            .iter()
            .position(|own| names.contains(&own.trim().trim_start_matches('\u{feff}')));
        place.ok_or_else(|| {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            DataError::malformed(
                &name,
                "line 1",
                format!("a column {}", names.join(" or ")),
                found,
            )
        })
    };
    let image = column(["image", "filepath", "file_name"])?;
    let caption = column(["caption", "title", "text"])?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            broken(
                error
                    .position()
                    .map_or_else(|| "a row".into(), |p| format!("line {}", p.line())),
                error,
            )
        })?;
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let of = |column: usize| record.get(column).unwrap_or_default().trim().to_owned();
        rows.push((line, of(image), vec![of(caption)]));
    }
    Ok(rows)
}

/// The questions of both directions.
fn questions(pairs: Vec<Described>) -> Vec<Item> {
    // Each text: its name, and the places of the pictures that it belongs to.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut texts: Vec<(String, &str, Vec<usize>)> = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        for (number, text) in pair.texts.iter().map(|text| text.trim()).enumerate() {
            let place = *places.entry(text).or_insert_with(|| {
                texts.push((format!("{}#{number}", pair.name), text, Vec::new()));
                texts.len() - 1
            });
            if !texts[place].2.contains(&at) {
                texts[place].2.push(at);
            }
        }
    }
    let pictures = pairs.iter().map(|pair| CandidatePicture {
        name: pair.name.clone(),
        picture: pair.picture.clone(),
    });
    let pictures = Arc::new(Candidates::Pictures(pictures.collect()));
    let named = texts.iter().map(|(name, text, _)| CandidateText {
        name: name.clone(),
        wordings: vec![(*text).to_owned()],
    });
    let named = Arc::new(Candidates::Texts(named.collect()));
    let mut own: Vec<Vec<String>> = vec![Vec::new(); pairs.len()];
    for (name, _, owners) in &texts {
        for owner in owners {
            own[*owner].push(name.clone());
        }
    }
    let [for_pictures, for_texts] = RETRIEVAL_PARTS;
    let of_texts = texts.iter().map(|(name, text, owners)| {
        let first = &pairs[owners[0]];
        Item {
            question: (*text).to_owned(),
            answers: owners
                .iter()
                .map(|owner| pairs[*owner].name.clone())
                .collect(),
            cluster: first.name.clone(),
            candidates: Some(pictures.clone()),
            ..Item::new(name.clone(), for_pictures, first.picture.clone())
        }
    });
    let of_pictures = pairs.iter().zip(own).map(|(pair, answers)| Item {
        answers,
        cluster: pair.name.clone(),
        candidates: Some(named.clone()),
        ..Item::new(pair.name.clone(), for_texts, pair.picture.clone())
    });
    of_texts.chain(of_pictures).collect()
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::folder;
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<Item>, DataError> {
        let folder = folder(&["pictures/a.jpg", "pictures/b.jpg"]);
        std::fs::write(folder.path().join(name), text).unwrap();
        read_retrieval(folder.path(), None)
    }

    /// Part, id and right answers.
    fn told(items: &[Item]) -> Vec<String> {
        let told = items
            .iter()
            .map(|item| format!("{} {} {}", item.part, item.id, item.answers.join(" ")));
        told.collect()
    }

    #[test]
    fn both_directions_and_texts_that_are_alike() {
        let lines = "{\"image\": \"a.jpg\", \"caption\": [\"a cat\", \"red\"]}\n{\"image\": \"b.jpg\", \"caption\": \"red \"}\n";
        let items = read("captions.jsonl", lines).unwrap();
        assert_eq!(
            told(&items),
            [
                "text_to_image a.jpg#0 a.jpg",
                "text_to_image a.jpg#1 a.jpg b.jpg",
                "image_to_text a.jpg a.jpg#0 a.jpg#1",
                "image_to_text b.jpg a.jpg#1",
            ]
        );
        assert_eq!(items[1].question, "red");
        let table = "filepath\ttitle\na.jpg\ta cat\na.jpg\tred\nb.jpg\tred\n";
        assert_eq!(told(&read("x.tsv", table).unwrap()), told(&items));
        let table = "caption,n,image\na cat,1,a.jpg\n\"red\",2,a.jpg\nred,3,b.jpg\n";
        assert_eq!(told(&read("x.csv", table).unwrap()), told(&items));
        let coco = r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
            "annotations": [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}]}"#;
        assert_eq!(read("captions_val.json", coco).unwrap().len(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |name: &str, text: &str| read(name, text).unwrap_err().to_string();
        assert!(error("x.jsonl", "{\"image\": \"a.jpg\"}").contains("line 1"));
        assert!(error("x.jsonl", "{\"image\": \"a.jpg\", \"caption\": []}").contains("a caption"));
        assert!(error("x.csv", "image,words\na.jpg,x\n").contains("caption or title"));
        assert!(error("x.csv", "image,caption\na.jpg,\n").contains("line 2"));
        assert!(error("x.csv", "image,caption\na.jpg,a\n").contains("two or more"));
        assert!(error("notes.txt", "").contains("dataset_coco.json"));
    }
}

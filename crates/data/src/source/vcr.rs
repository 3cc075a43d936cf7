//! Visual commonsense reasoning (VCR): a question about people and things of a film's scene, whose regions are shown, and
//! the right answer.

use std::sync::Arc;

use image::GrayImage;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::instruction::{picture, regions};
use super::osprey::MAX_REGIONS;
use super::per_record::FIELDS;
use super::records::{Records, Within};
use super::registry::{SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::sample::Sample;
use crate::segmentation::Segmentation;
use crate::storage::{Blob, Location, Pictures};

/// Largest file of masks that is read.
const MAX_MASKS: u64 = 16 << 20;

pub(super) const KIND: SourceKind = SourceKind {
    name: "vcr",
    about: "VCR as published (train.jsonl, vcr1images with the .json beside each picture); questions about more than four \
            regions are left out",
    fields: FIELDS,
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
}

#[derive(Deserialize)]
struct Record {
    img_fn: String,
    metadata_fn: String,
    question: Vec<Piece>,
    answer_choices: Vec<Vec<Piece>>,
    answer_label: usize,
    #[serde(default)]
    annot_id: String,
}

/// A word, or the numbers of what is meant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a word or a list of numbers")]
enum Piece {
    Word(String),
    Objects(Vec<usize>),
}

#[derive(Deserialize)]
struct Metadata {
    width: u32,
    height: u32,
    segms: Vec<Vec<Vec<[f64; 2]>>>,
}

struct Vcr {
    records: Records<Record>,
    pictures: Pictures,
    folder: Location,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    let expected = "{\"img_fn\": …, \"metadata_fn\": …, \"question\": […], \"answer_choices\": [[…]], \"answer_label\": …}";
    let pictures = context.pictures("images", &options.images)?;
    Ok(Arc::new(Vcr {
        records: Records::open(file, Within::File, expected)?,
        folder: pictures.folder().clone(),
        pictures,
    }))
}

impl Source for Vcr {
    fn len(&self) -> Option<u64> {
        Some(self.records.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let record = self.records.get(index)?;
        let wrong = |expected: &str, found: String| self.records.malformed(index, expected, found);
        let answer = record.answer_choices.get(record.answer_label);
        let answer = answer.ok_or_else(|| {
            let found = format!("{} of {}", record.answer_label, record.answer_choices.len());
            wrong("an answer_label that is one of the choices", found)
        })?;
        let meant = meant(&record.question, answer);
        let name = self.records.name(index);
        if meant.is_empty() || meant.len() > MAX_REGIONS {
            let rule = if meant.is_empty() {
                "no region"
            } else {
                "too many regions"
            };
            return Err(DataError::Dropped { name, rule });
        }
        let metadata = self.metadata(&record.metadata_fn)?;
        let mut masks: Vec<GrayImage> = Vec::new();
        for object in &meant {
            let segments = metadata.segms.get(*object).ok_or_else(|| {
                let found = format!("object {object} of {}", metadata.segms.len());
                wrong("objects of the picture", found)
            })?;
            let polygons = segments.iter().map(|points| points.concat()).collect();
            let mask = Segmentation::Polygons(polygons).mask(metadata.width, metadata.height);
            masks.push(
                mask.map_err(|(expected, found)| wrong(&format!("a mask of {expected}"), found))?,
            );
        }
        let image = picture(&self.pictures, &record.img_fn)?;
        if image.image.dimensions() != (metadata.width, metadata.height) {
            return Err(DataError::MaskSize {
                name,
                width: image.image.width(),
                height: image.image.height(),
                found_width: metadata.width,
                found_height: metadata.height,
            });
        }
        let turn = (told(&record.question, &meant), told(answer, &meant));
        let id = if record.annot_id.is_empty() {
            name
        } else {
            format!("vcr/{}", record.annot_id)
        };
        regions(id, image, masks, &[turn])
    }
}

impl Vcr {
    fn metadata(&self, name: &str) -> Result<Metadata, DataError> {
        let blob = Blob::at(&self.folder.join(name))?;
        let file = blob.path().display().to_string();
        let wrong =
            |expected: String, found: String| DataError::malformed(&file, "masks", expected, found);
        let size = blob.size()?;
        if size > MAX_MASKS {
            return Err(wrong(
                format!("at most {MAX_MASKS} bytes"),
                size.to_string(),
            ));
        }
        let metadata: Metadata = serde_json::from_slice(&blob.read(0, size)?).map_err(|error| {
            let expected = "{\"width\": …, \"height\": …, \"segms\": …}";
            wrong(expected.into(), error.to_string())
        })?;
        self.pictures
            .limits()
            .admit(&file, metadata.width, metadata.height)?;
        Ok(metadata)
    }
}

/// What question and answer speak of, in their order, each once.
fn meant(question: &[Piece], answer: &[Piece]) -> Vec<usize> {
    let mut meant = Vec::new();
    for piece in question.iter().chain(answer) {
        if let Piece::Objects(objects) = piece {
            for object in objects {
                if !meant.contains(object) {
                    meant.push(*object);
                }
            }
        }
    }
    meant
}

/// A text whose objects are regions.
fn told(pieces: &[Piece], meant: &[usize]) -> String {
    let mut out = String::new();
    for piece in pieces {
        let word = match piece {
            Piece::Word(word) => word.clone(),
            Piece::Objects(objects) => {
                let places = objects
                    .iter()
                    .filter_map(|o| meant.iter().position(|m| m == o));
                let names: Vec<String> = places
                    .map(|place| format!("<ref>region{}</ref>", place + 1))
                    .collect();
                names.join(" and ")
            }
        };
        let glued = word.starts_with(['.', ',', '?', '!', '\'', ';', ':']) || word == "n't";
        if !out.is_empty() && !glued {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_regions_in_the_order_of_speech() {
        let word = |w: &str| Piece::Word(w.into());
        let question = [
            word("Why"),
            word("does"),
            Piece::Objects(vec![3, 1]),
            word("run"),
            word("?"),
        ];
        let answer = [
            Piece::Objects(vec![1]),
            word("ca"),
            word("n't"),
            word("wait"),
            word("."),
        ];
        let meant = meant(&question, &answer);
        assert_eq!(meant, [3, 1]);
        assert_eq!(
            told(&question, &meant),
            "Why does <ref>region1</ref> and <ref>region2</ref> run?"
        );
        assert_eq!(told(&answer, &meant), "<ref>region2</ref> can't wait.");
        let pieces: Vec<Piece> = serde_json::from_str(r#"["Is", [0], "?"]"#).unwrap();
        assert_eq!(pieces[1], Piece::Objects(vec![0]));
    }
}

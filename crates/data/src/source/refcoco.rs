//! RefCOCO, RefCOCO+ and RefCOCOg: an object's region, and an expression that refers to it. One expression of an object
//! is drawn each epoch.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::coco_instances::Instances;
use super::instruction::region;
use super::records;
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::dice::Dice;
use crate::pickle;
use crate::sample::Sample;
use crate::storage::Blob;

pub(super) const KIND: SourceKind = SourceKind {
    name: "refcoco",
    about: "RefCOCO, RefCOCO+ and RefCOCOg as published: what people say of the region of an object",
    fields: &[
        Field {
            name: "refs",
            about: "the expressions: refs(unc).p, refs(google).p or refs(umd).p, or the same list as JSON",
        },
        Field {
            name: "instances",
            about: "instances.json beside it",
        },
        Field {
            name: "images",
            about: "folder of COCO's train2014",
        },
        Field {
            name: "split",
            about: "default: train",
        },
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    refs: String,
    instances: String,
    images: String,
    #[serde(default = "train")]
    split: String,
}

fn train() -> String {
    "train".into()
}

#[derive(Deserialize)]
struct Reference {
    ref_id: u64,
    ann_id: u64,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    sent: String,
}

struct References {
    references: Vec<(u64, u64, Vec<String>)>,
    instances: Instances,
    seed: u64,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let refs = context.blob("refs", &options.refs)?;
    let instances = context.blob("instances", &options.instances)?;
    let pictures = context.pictures("images", &options.images)?;
    let instances = Instances::open(&instances, pictures, context.limits)?;
    let mut numbers = HashMap::new();
    instances.coco.annotations.each(|number, instance| {
        numbers.insert(instance.id, number);
        Ok(())
    })?;
    let mut references = Vec::new();
    for reference in read(&refs)? {
        if reference.split != options.split || reference.sentences.is_empty() {
            continue;
        }
        let number = numbers.get(&reference.ann_id).ok_or_else(|| {
            DataError::malformed(
                refs.path().display().to_string(),
                format!("ref_id {}", reference.ref_id),
                "an annotation of the instances",
                format!("ann_id {}", reference.ann_id),
            )
        })?;
        let sentences = reference.sentences.into_iter().map(|s| s.sent).collect();
        references.push((reference.ref_id, *number, sentences));
    }
    if references.is_empty() {
        return Err(DataError::Empty {
            what: refs.path().display().to_string(),
            hint: format!("it has no expressions of the split {:?}", options.split),
        });
    }
    Ok(Arc::new(References {
        references,
        instances,
        seed: context.seed,
    }))
}

fn read(blob: &Blob) -> Result<Vec<Reference>, DataError> {
    let size = blob.size()?;
    let wrong = |expected: &str, found: String| {
        DataError::malformed(
            blob.path().display().to_string(),
            "expressions",
            expected,
            found,
        )
    };
    if size > pickle::MAX_BYTES {
        return Err(wrong(
            &format!("at most {} bytes", pickle::MAX_BYTES),
            size.to_string(),
        ));
    }
    let expected = "{\"ref_id\": …, \"ann_id\": …, \"split\": …, \"sentences\": [{\"sent\": …}]}";
    if blob.name().ends_with(".json") {
        let mut references = Vec::new();
        records::Records::open(blob.clone(), records::Within::File, expected)?.each(|_, one| {
            references.push(one);
            Ok(())
        })?;
        return Ok(references);
    }
    let value = pickle::read(&blob.read(0, size)?).map_err(|found| wrong("a pickle", found))?;
    serde_json::from_value(value).map_err(|error| wrong(expected, error.to_string()))
}

impl Source for References {
    fn len(&self) -> Option<u64> {
        Some(self.references.len() as u64)
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let at = (index % self.references.len() as u64) as usize;
        let (id, number, sentences) = &self.references[at];
        let instance = self.instances.coco.annotations.get(*number)?;
        let (image, mask) = self.instances.shown(*number, &instance)?;
        let mut dice = Dice::new(self.seed, KIND.name, index);
        let sentence = &sentences[dice.below(sentences.len())];
        region(format!("refcoco/{id}"), image, mask, sentence)
    }
}

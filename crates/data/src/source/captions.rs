//! Pictures with captions: JSON Lines with `image`, a file below the folder of pictures, and `caption`, a text
//! or a list of texts of which one is drawn. Other fields are ignored.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::records::{Records, Within};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::rules::{self, CaptionRules};
use super::{OneOrMore, Source};
use crate::DataError;
use crate::dice::Dice;
use crate::sample::{Sample, SampleImage};
use crate::storage::Pictures;

pub(super) const KIND: SourceKind = SourceKind {
    name: "captions",
    about: "pictures with captions, one JSON object a line: {\"image\": \"a.jpg\", \"caption\": \"…\"}",
    fields: &[
        Field {
            name: "file",
            about: "the JSON Lines (a JSON list is read, too)",
        },
        Field {
            name: "images",
            about: "folder that names of pictures start from",
        },
        rules::FIELD,
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
    #[serde(default)]
    rules: CaptionRules,
}

#[derive(Deserialize)]
struct Record {
    image: String,
    caption: OneOrMore,
}

struct Captions {
    records: Records<Record>,
    images: Pictures,
    rules: CaptionRules,
    seed: u64,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    let expected = "{\"image\": \"a.jpg\", \"caption\": \"…\"}";
    Ok(Arc::new(Captions {
        images: context.pictures("images", &options.images)?,
        rules: options.rules.checked()?,
        records: Records::open(file, Within::File, expected)?,
        seed: context.seed,
    }))
}

impl Source for Captions {
    fn len(&self) -> Option<u64> {
        Some(self.records.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let record = self.records.get(index)?;
        let mut dice = Dice::new(self.seed, "captions", index);
        let caption = dice.pick(record.caption.all()).ok_or_else(|| {
            self.records
                .malformed(index, "a caption", "an empty list".into())
        })?;
        self.rules.admit(&self.records.name(index), caption)?;
        let image = SampleImage {
            image: self.images.read(&record.image)?,
            id: record.image,
            mask: None,
        };
        let mut sample = self.rules.sample(image, caption, &mut dice)?;
        sample.id = self.records.name(index);
        Ok(sample)
    }
}

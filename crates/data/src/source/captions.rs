//! Pictures with captions: JSON Lines with `image`, a file below the folder of pictures, and `caption`, a text
//! or a list of texts of which one is drawn. Other fields are ignored.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::records::Records;
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::rules::{self, CaptionRules};
use super::{OneOrMore, Source};
use crate::DataError;
use crate::dice::Dice;
use crate::image::{ImageLimits, read_image};
use crate::sample::{Sample, SampleImage};

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
    images: PathBuf,
    rules: CaptionRules,
    seed: u64,
    limits: ImageLimits,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.file("file", &options.file)?;
    Ok(Arc::new(Captions {
        images: context.folder("images", &options.images)?,
        rules: options.rules.checked()?,
        records: Records::open(&file, "{\"image\": \"a.jpg\", \"caption\": \"…\"}")?,
        seed: context.seed,
        limits: context.limits,
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
            image: read_image(&self.images.join(&record.image), self.limits)?,
            id: record.image,
            mask: None,
        };
        let mut sample = self.rules.sample(image, caption, &mut dice)?;
        sample.id = self.records.name(index);
        Ok(sample)
    }
}

//! COCO's captions: as instructions (stage 2), or by the rules of captions (stage 1).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::coco::{Annotation, Coco};
use super::instruction::{caption, picture};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::rules::CaptionRules;
use crate::DataError;
use crate::dice::Dice;
use crate::sample::Sample;
use crate::storage::Pictures;

pub(super) const KIND: SourceKind = SourceKind {
    name: "coco-captions",
    about: "COCO captions as published (captions_train2017.json), each a request and its answer; also NoCaps, Flickr30k in \
            COCO's layout",
    fields: &[
        Field {
            name: "file",
            about: "the annotations",
        },
        Field {
            name: "images",
            about: "folder that file_name starts from",
        },
        Field {
            name: "rules",
            about: "as of `captions`: with it pictures and captions are put together by these rules, not as requests",
        },
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
    rules: Option<CaptionRules>,
}

#[derive(Deserialize)]
struct Caption {
    image_id: u64,
    caption: String,
}

impl Annotation for Caption {
    fn image_id(&self) -> u64 {
        self.image_id
    }
}

struct Captions {
    coco: Coco<Caption>,
    pictures: Pictures,
    rules: Option<CaptionRules>,
    seed: u64,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    Ok(Arc::new(Captions {
        pictures: context.pictures("images", &options.images)?,
        rules: options.rules.map(CaptionRules::checked).transpose()?,
        coco: Coco::open(&file, "{\"image_id\": …, \"caption\": \"…\"}", false)?,
        seed: context.seed,
    }))
}

impl Source for Captions {
    fn len(&self) -> Option<u64> {
        Some(self.coco.annotations.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let annotation = self.coco.annotations.get(index)?;
        let name = self.coco.annotations.name(index);
        if let Some(rules) = &self.rules {
            rules.admit(&name, &annotation.caption)?;
        }
        let file = &self.coco.picture(index, &annotation)?.file_name;
        let image = picture(&self.pictures, file)?;
        let Some(rules) = &self.rules else {
            return Ok(caption(name, image, &annotation.caption));
        };
        let mut dice = Dice::new(self.seed, KIND.name, index);
        let mut sample = rules.sample(image, &annotation.caption, &mut dice)?;
        sample.id = name;
        Ok(sample)
    }
}

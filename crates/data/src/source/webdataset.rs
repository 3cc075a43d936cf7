//! Pictures with captions in WebDataset shards: tar archives with `0001.jpg` beside `0001.txt` or `0001.json`.
//!
//! Opening reads the headers of all members once; afterwards every sample is had by one seek.

mod index;
mod tar;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use self::index::{Group, Index, Needs};
use self::tar::{Member, Members};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::rules::{self, CaptionRules};
use super::wording::Wording;
use super::{OneOrMore, Source};
use crate::DataError;
use crate::dice::Dice;
use crate::image::{ImageLimits, decode_image};
use crate::sample::{Sample, SampleImage};
use crate::storage::{Blob, Reader};

/// Largest picture file and largest text that are read.
const MAX_PICTURE: u64 = 256 << 20;
const MAX_TEXT: u64 = 16 << 20;

pub(super) const KIND: SourceKind = SourceKind {
    name: "webdataset",
    about: "pictures (.jpg .jpeg .png .webp) with captions (.txt .caption .json) in tar shards",
    fields: &[
        Field {
            name: "shards",
            about: "the shards, a pattern as \"train-{0000..0127}.tar\" or a list of them",
        },
        Field {
            name: "caption",
            about: "field of the JSON record, or words over fields as \"a photo of {label}\"; default: the text \
                    beside the picture, else the field `caption`",
        },
        Field {
            name: "skip_damaged",
            about: "whether to use what stands before the damage of a damaged shard; default: false, an error",
        },
        rules::FIELD,
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    shards: OneOrMore,
    caption: Option<String>,
    #[serde(default)]
    skip_damaged: bool,
    #[serde(default)]
    rules: CaptionRules,
}

struct WebDataset {
    index: Index,
    wording: Wording,
    rules: CaptionRules,
    seed: u64,
    limits: ImageLimits,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let rules = options.rules.checked()?;
    let wording = Wording::parse(options.caption.as_deref())
        .map_err(|reason| DataError::config("data.caption", reason))?;
    let needs = match wording {
        Wording::Default => Needs::TextOrRecord,
        Wording::Template(_) => Needs::Record,
    };
    let shards = context.blobs("shards", options.shards.all())?;
    Ok(Arc::new(WebDataset {
        index: Index::build(shards, needs, options.skip_damaged)?,
        wording,
        rules,
        seed: context.seed,
        limits: context.limits,
    }))
}

impl Source for WebDataset {
    fn len(&self) -> Option<u64> {
        Some(self.index.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (shard, members, group) = self.index.get(index)?;
        let mut shard = Shard {
            blob: shard,
            members,
        };
        let mut dice = Dice::new(self.seed, "webdataset", index);
        let caption = self.caption(&mut shard, &group, &mut dice)?;
        let Some(picture) = &group.picture else {
            return Err(shard.malformed(&group.key, "a picture", "none"));
        };
        let id = shard.name(&picture.name);
        self.rules.admit(&id, &caption)?;
        let bytes = shard.read(picture, MAX_PICTURE)?;
        let image = SampleImage {
            image: decode_image(&bytes, &id, self.limits)?,
            id,
            mask: None,
        };
        let mut sample = self.rules.sample(image, &caption, &mut dice)?;
        sample.id = shard.name(&group.key);
        Ok(sample)
    }
}

impl WebDataset {
    fn caption(
        &self,
        shard: &mut Shard,
        group: &Group,
        dice: &mut Dice,
    ) -> Result<String, DataError> {
        match (&self.wording, &group.text, &group.record) {
            (Wording::Default, Some(text), _) => String::from_utf8(shard.read(text, MAX_TEXT)?)
                .map_err(|error| shard.malformed(&text.name, "text in UTF-8", error.to_string())),
            (wording, _, Some(record)) => {
                let bytes = shard.read(record, MAX_TEXT)?;
                let value = serde_json::from_slice(&bytes)
                    .map_err(|error| shard.malformed(&record.name, "JSON", error.to_string()))?;
                wording
                    .of_record(&value, dice)
                    .map_err(|(expected, found)| shard.malformed(&record.name, expected, found))
            }
            _ => Err(shard.malformed(&group.key, "a text", "none")),
        }
    }
}

/// A shard while one of its samples is read.
struct Shard<'a> {
    blob: &'a Blob,
    members: Members<Reader>,
}

impl Shard<'_> {
    fn read(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, DataError> {
        if member.size > limit {
            let expected = format!("at most {limit} bytes");
            return Err(self.malformed(&member.name, expected, member.size.to_string()));
        }
        self.members
            .read(member)
            .map_err(|e| DataError::io(self.blob.path(), e))
    }

    /// Name of something in the shard.
    fn name(&self, member: &str) -> String {
        format!("{}/{member}", self.blob.name())
    }

    fn malformed(
        &self,
        member: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> DataError {
        DataError::malformed(
            self.blob.path().display().to_string(),
            format!("{member:?}"),
            expected,
            found,
        )
    }
}

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
        Field {
            name: "pictures_only",
            about: "whether words are left alone, so that pictures need none; default: false",
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
    pictures_only: bool,
    #[serde(default)]
    rules: CaptionRules,
}

struct WebDataset {
    index: Index,
    wording: Wording,
    pictures_only: bool,
    rules: CaptionRules,
    seed: u64,
    limits: ImageLimits,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    Ok(Arc::new(WebDataset::open(options, context)?))
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
        let caption = match self.pictures_only {
            true => None,
            false => Some(self.caption(&mut shard, &group, &mut dice)?),
        };
        let Some(picture) = &group.picture else {
            return Err(shard.malformed(&group.key, "a picture", "none"));
        };
        let id = shard.name(&picture.name);
        if let Some(caption) = &caption {
            self.rules.admit(&id, caption)?;
        }
        let bytes = shard.read(picture, MAX_PICTURE)?;
        let image = SampleImage {
            image: decode_image(&bytes, &id, self.limits)?,
            id,
            mask: None,
        };
        let mut sample = match caption {
            Some(caption) => self.rules.sample(image, &caption, &mut dice)?,
            None => Sample::of_picture(image),
        };
        sample.id = shard.name(&group.key);
        Ok(sample)
    }
}

/// Pictures with texts in shards, had one by one and without being decoded (benchmarks).
pub struct CaptionedShards(WebDataset);

impl std::fmt::Debug for CaptionedShards {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "CaptionedShards({} samples)", self.len())
    }
}

impl CaptionedShards {
    /// Opens shards of a folder by name; `caption` as the field of that name of this kind of source.
    ///
    /// # Errors
    /// `Config` for a caption that cannot be meant; `Io`; `Malformed` naming a damaged shard; `Empty`.
    pub fn open(
        folder: &std::path::Path,
        shards: Vec<String>,
        caption: Option<&str>,
    ) -> Result<Self, DataError> {
        let context = SourceContext {
            seed: 0,
            image_size: 0,
            root: folder.into(),
            limits: ImageLimits::default(),
        };
        let mut options = Map::from_iter([("shards".to_owned(), Value::from(shards))]);
        options.extend(caption.map(|caption| ("caption".to_owned(), Value::from(caption))));
        Ok(Self(WebDataset::open(&options, &context)?))
    }

    /// How many samples there are.
    pub fn len(&self) -> u64 {
        self.0.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name and text of a sample; of several texts always the same.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming shard and member.
    pub fn caption(&self, index: u64) -> Result<(String, String), DataError> {
        let (blob, members, group) = self.0.index.get(index)?;
        let mut shard = Shard { blob, members };
        let mut dice = Dice::new(0, "webdataset", index);
        let caption = self.0.caption(&mut shard, &group, &mut dice)?;
        Ok((shard.name(&group.key), caption))
    }

    /// The bytes of a sample's picture.
    ///
    /// # Errors
    /// As [`Self::caption`].
    pub fn picture(&self, index: u64) -> Result<Vec<u8>, DataError> {
        let (blob, members, group) = self.0.index.get(index)?;
        let mut shard = Shard { blob, members };
        match &group.picture {
            Some(picture) => shard.read(picture, MAX_PICTURE),
            None => Err(shard.malformed(&group.key, "a picture", "none")),
        }
    }
}

impl WebDataset {
    fn open(options: &Map<String, Value>, context: &SourceContext) -> Result<Self, DataError> {
        let options: Options = parse_options(options)?;
        let rules = options.rules.checked()?;
        let wording = Wording::parse(options.caption.as_deref())
            .map_err(|reason| DataError::config("data.caption", reason))?;
        let needs = match wording {
            _ if options.pictures_only => Needs::Nothing,
            Wording::Default => Needs::TextOrRecord,
            Wording::Template(_) => Needs::Record,
        };
        let shards = context.blobs("shards", options.shards.all())?;
        Ok(Self {
            index: Index::build(shards, needs, options.skip_damaged)?,
            wording,
            pictures_only: options.pictures_only,
            rules,
            seed: context.seed,
            limits: context.limits,
        })
    }

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

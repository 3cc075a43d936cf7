//! Sources of samples. A sample is a function of its index and nothing else, so that a run resumes
//! from a number.

mod a_okvqa;
mod braces;
mod captions;
mod coco;
mod coco_captions;
mod coco_instances;
mod gqa;
mod images;
mod instruction;
mod llava;
mod mmc4;
mod ocr_vqa;
mod osprey;
mod parquet;
mod part_imagenet;
mod pascal_part;
mod paths;
mod per_record;
mod pictures_only;
mod records;
mod refcoco;
mod registry;
mod rules;
mod statistics;
mod text_caps;
mod text_vqa;
mod vcr;
mod visual_genome;
mod vqa;
mod webdataset;
mod wording;

pub use pictures_only::PicturesOnly;
pub use registry::{
    Build, Field, SourceContext, SourceKind, SourceRegistry, SourceSpec, parse_options,
};
pub use rules::CaptionRules;
pub use statistics::{Spread, Statistics};
pub use webdataset::CaptionedShards;

use serde::Deserialize;

use crate::DataError;
use crate::sample::Sample;

/// Something that has samples.
pub trait Source: Send + Sync {
    /// How many there are; `None` if they never end.
    fn len(&self) -> Option<u64>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Sample number `index`; the same for the same index, always. Finite sources take it modulo their
    /// length for the record and whole for what they draw, so that each epoch draws anew.
    ///
    /// # Errors
    /// The reason why this sample cannot be had; others may be fine.
    fn get(&self, index: u64) -> Result<Sample, DataError>;
}

/// A text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(crate) enum OneOrMore {
    /// One.
    One(String),
    /// Several, or none.
    More(Vec<String>),
}

impl OneOrMore {
    /// All of them.
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

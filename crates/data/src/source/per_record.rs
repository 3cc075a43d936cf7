//! Sources whose samples are the records of one JSON file, with pictures in a folder: what they have in common.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Source;
use super::records::{Records, Within};
use super::registry::{Field, SourceContext, parse_options};
use crate::DataError;
use crate::dice::Dice;
use crate::sample::Sample;
use crate::storage::Pictures;

/// The fields of such a source.
pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "file",
        about: "the published JSON",
    },
    Field {
        name: "images",
        about: "folder that names of pictures start from",
    },
];

/// A record, and what sample it makes.
pub(super) trait Record: DeserializeOwned + Send + Sync + 'static {
    /// Name of the kind, for what is drawn.
    const KIND: &'static str;
    /// Where the records stand.
    const WITHIN: Within;
    /// What one looks like.
    const EXPECTED: &'static str;

    /// The sample.
    ///
    /// # Errors
    /// Why there is none.
    fn sample(self, making: &mut Making) -> Result<Sample, DataError>;
}

/// What a record makes its sample with.
pub(super) struct Making<'a> {
    /// Where pictures are.
    pub pictures: &'a Pictures,
    /// What is drawn, anew each epoch.
    pub dice: Dice,
    /// Name of the record.
    pub name: String,
    malformed: &'a dyn Fn(&str, String) -> DataError,
}

impl Making<'_> {
    /// An error of the record.
    pub fn malformed(&self, expected: &str, found: impl Into<String>) -> DataError {
        (self.malformed)(expected, found.into())
    }

    /// The record is left out by a rule.
    pub fn left_out(&self, rule: &'static str) -> DataError {
        DataError::Dropped {
            name: self.name.clone(),
            rule,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
}

struct PerRecord<R> {
    records: Records<R>,
    pictures: Pictures,
    seed: u64,
    record: PhantomData<fn() -> R>,
}

/// Opens a source of such records.
///
/// # Errors
/// `Config`; those of the file.
pub(super) fn open<R: Record>(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    Ok(Arc::new(PerRecord::<R> {
        pictures: context.pictures("images", &options.images)?,
        records: Records::open(file, R::WITHIN, R::EXPECTED)?,
        seed: context.seed,
        record: PhantomData,
    }))
}

impl<R: Record> Source for PerRecord<R> {
    fn len(&self) -> Option<u64> {
        Some(self.records.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let record = self.records.get(index)?;
        record.sample(&mut Making {
            pictures: &self.pictures,
            dice: Dice::new(self.seed, R::KIND, index),
            name: self.records.name(index),
            malformed: &|expected, found| self.records.malformed(index, expected, found),
        })
    }
}

//! GQA: questions about scene graphs, with answers of one word.

use serde::Deserialize;

use super::instruction::{picture, question};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::{Named, Within};
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

pub(super) const KIND: SourceKind = SourceKind {
    name: "gqa",
    about: "GQA as published (train_balanced_questions.json or a train_all_questions file, pictures by imageId)",
    fields: FIELDS,
    build: per_record::open::<Named<Item>>,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    image_id: String,
    question: String,
    answer: String,
}

impl Record for Named<Item> {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::Members;
    const EXPECTED: &'static str = "\"id\": {\"imageId\": …, \"question\": …, \"answer\": …}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let Self(id, item) = self;
        let image = picture(making.pictures, &format!("{}.jpg", item.image_id))?;
        Ok(question(
            format!("gqa/{id}"),
            image,
            &item.question,
            &item.answer,
        ))
    }
}

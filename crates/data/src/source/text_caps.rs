//! TextCaps: captions that tell what is written in pictures, as instructions.

use serde::Deserialize;

use super::instruction::{caption, picture};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::Within;
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

pub(super) const KIND: SourceKind = SourceKind {
    name: "textcaps",
    about: "TextCaps as published (TextCaps_0.1_train.json, pictures by image_id in train_images)",
    fields: FIELDS,
    build: per_record::open::<Item>,
};

#[derive(Deserialize)]
struct Item {
    image_id: String,
    caption_str: String,
}

impl Record for Item {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::List("data");
    const EXPECTED: &'static str = "{\"image_id\": …, \"caption_str\": …}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let image = picture(making.pictures, &format!("{}.jpg", self.image_id))?;
        Ok(caption(making.name.clone(), image, &self.caption_str))
    }
}

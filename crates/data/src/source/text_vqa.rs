//! TextVQA: questions about text in pictures, ten answers each of which the most frequent is learned.

use serde::Deserialize;

use super::instruction::{majority, picture, question};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::Within;
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

pub(super) const KIND: SourceKind = SourceKind {
    name: "textvqa",
    about: "TextVQA as published (TextVQA_0.5.1_train.json, pictures by image_id in train_images)",
    fields: FIELDS,
    build: per_record::open::<Item>,
};

#[derive(Deserialize)]
struct Item {
    question: String,
    image_id: String,
    answers: Vec<String>,
}

impl Record for Item {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::List("data");
    const EXPECTED: &'static str = "{\"question\": …, \"image_id\": …, \"answers\": […]}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let answer = majority(self.answers.iter().map(String::as_str))
            .ok_or_else(|| making.malformed("an answer", "an empty list"))?;
        let image = picture(making.pictures, &format!("{}.jpg", self.image_id))?;
        Ok(question(making.name.clone(), image, &self.question, answer))
    }
}

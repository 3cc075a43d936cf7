//! OCR-VQA: questions about book covers. One question of a cover is drawn each epoch; covers of other splits are left
//! out.

use serde::Deserialize;

use super::instruction::{picture, question};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::{Named, Within};
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

/// How the file marks covers to train on.
const TRAIN: u8 = 1;

pub(super) const KIND: SourceKind = SourceKind {
    name: "ocr-vqa",
    about: "OCR-VQA as published (dataset.json, pictures by the cover's id with the ending of its address)",
    fields: FIELDS,
    build: per_record::open::<Named<Cover>>,
};

#[derive(Deserialize)]
struct Cover {
    #[serde(rename = "imageURL")]
    url: String,
    questions: Vec<String>,
    answers: Vec<String>,
    split: u8,
}

impl Record for Named<Cover> {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::Members;
    const EXPECTED: &'static str =
        "\"id\": {\"imageURL\": …, \"questions\": […], \"answers\": […], \"split\": 1}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let Self(id, cover) = self;
        if cover.split != TRAIN {
            return Err(making.left_out("other split"));
        }
        let count = cover.questions.len();
        if count != cover.answers.len() || count == 0 {
            let found = format!("{count} questions, {} answers", cover.answers.len());
            return Err(making.malformed("as many answers as questions, and one", found));
        }
        let drawn = making.dice.below(count);
        let ending = cover
            .url
            .rsplit_once('.')
            .map_or("jpg", |(_, ending)| ending);
        let image = picture(making.pictures, &format!("{id}.{ending}"))?;
        Ok(question(
            format!("{}/{drawn}", making.name),
            image,
            &cover.questions[drawn],
            &cover.answers[drawn],
        ))
    }
}

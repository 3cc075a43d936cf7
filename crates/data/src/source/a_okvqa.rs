//! A-OKVQA: questions that ask for knowledge of the world. The right one of the choices is learned, without the others
//! being told.

use serde::Deserialize;

use super::instruction::{majority, picture, question};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::Within;
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

pub(super) const KIND: SourceKind = SourceKind {
    name: "a-okvqa",
    about: "A-OKVQA as published (aokvqa_v1p0_train.json, pictures of COCO 2017 by number)",
    fields: FIELDS,
    build: per_record::open::<Item>,
};

#[derive(Deserialize)]
struct Item {
    image_id: u64,
    question: String,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    correct_choice_idx: Option<usize>,
    #[serde(default)]
    direct_answers: Vec<String>,
}

impl Record for Item {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::File;
    const EXPECTED: &'static str =
        "{\"image_id\": …, \"question\": …, \"choices\": […], \"correct_choice_idx\": …}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let right = match self.correct_choice_idx {
            Some(right) => self.choices.get(right).map(String::as_str),
            None => majority(self.direct_answers.iter().map(String::as_str)),
        };
        let right = right.ok_or_else(|| {
            let found = format!(
                "correct_choice_idx {:?} of {} choices, {} direct answers",
                self.correct_choice_idx,
                self.choices.len(),
                self.direct_answers.len()
            );
            making.malformed("a right choice, or direct answers", found)
        })?;
        let image = picture(making.pictures, &format!("{:012}.jpg", self.image_id))?;
        Ok(question(making.name.clone(), image, &self.question, right))
    }
}

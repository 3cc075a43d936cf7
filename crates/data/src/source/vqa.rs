//! VQAv2 and OK-VQA: questions in one file, annotations in another, joined by question; also other sets in that layout.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::instruction::{majority, picture, question};
use super::records::{Records, Within};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::sample::Sample;
use crate::storage::Pictures;

pub(super) const KIND: SourceKind = SourceKind {
    name: "vqa",
    about: "VQAv2 and OK-VQA as published: questions, and annotations of ten answers of which the most frequent is learned",
    fields: &[
        Field {
            name: "questions",
            about: "v2_OpenEnded_mscoco_train2014_questions.json or its like",
        },
        Field {
            name: "annotations",
            about: "v2_mscoco_train2014_annotations.json or its like",
        },
        Field {
            name: "images",
            about: "folder of the pictures",
        },
        Field {
            name: "names",
            about: "names of pictures, {} being the number of twelve digits; default: COCO_train2014_{}.jpg",
        },
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    questions: String,
    annotations: String,
    images: String,
    #[serde(default = "coco")]
    names: String,
}

fn coco() -> String {
    "COCO_train2014_{}.jpg".into()
}

#[derive(Deserialize)]
struct Question {
    question_id: u64,
    image_id: u64,
    question: String,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    #[serde(default)]
    multiple_choice_answer: Option<String>,
    #[serde(default)]
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

struct Questions {
    questions: Records<Question>,
    annotations: Records<Annotation>,
    /// Number of the annotation by question.
    numbers: HashMap<u64, u32>,
    pictures: Pictures,
    names: String,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    if !options.names.contains("{}") {
        let reason = format!("{:?}: expected {{}} where the number stands", options.names);
        return Err(DataError::config("data.names", reason));
    }
    let questions = Records::open(
        context.blob("questions", &options.questions)?,
        Within::List("questions"),
        "{\"question_id\": …, \"image_id\": …, \"question\": …}",
    )?;
    let annotations: Records<Annotation> = Records::open(
        context.blob("annotations", &options.annotations)?,
        Within::List("annotations"),
        "{\"question_id\": …, \"answers\": [{\"answer\": …}]}",
    )?;
    let mut numbers = HashMap::new();
    annotations.each(|number, annotation| {
        numbers.insert(annotation.question_id, number as u32);
        Ok(())
    })?;
    Ok(Arc::new(Questions {
        questions,
        annotations,
        numbers,
        pictures: context.pictures("images", &options.images)?,
        names: options.names,
    }))
}

impl Source for Questions {
    fn len(&self) -> Option<u64> {
        Some(self.questions.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let asked = self.questions.get(index)?;
        let id = asked.question_id;
        let number = self.numbers.get(&id).ok_or_else(|| {
            let found = format!("none of question_id {id}");
            self.questions
                .malformed(index, "an annotation of each question", found)
        })?;
        let annotation = self.annotations.get(u64::from(*number))?;
        let given = annotation.answers.iter().map(|a| a.answer.as_str());
        let answer = annotation.multiple_choice_answer.as_deref();
        let answer = answer.or_else(|| majority(given)).ok_or_else(|| {
            self.annotations
                .malformed(u64::from(*number), "an answer", "none".into())
        })?;
        let name = self.names.replace("{}", &format!("{:012}", asked.image_id));
        let image = picture(&self.pictures, &name)?;
        Ok(question(
            format!("vqa/{id}"),
            image,
            &asked.question,
            answer,
        ))
    }
}

//! Open questions that several people answered, too: VQAv2, OK-VQA, VizWiz, TextVQA.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_okvqa, read_text_vqa, read_vizwiz, read_vqav2};
use deem_data::image::ImageLimits;
use deem_data::text::{protocol, question_prompt};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure};
use deem_metrics::statistics::accuracy;
use deem_metrics::vqa::vqa_accuracy;

use super::{AnswerForm, Answered, Answering, Benchmark, Question, Worth, parts};
use crate::EngineError;

/// One of these benchmarks: they differ in their files only.
#[derive(Clone, Copy, Debug)]
pub struct Vqa {
    name: &'static str,
    title: &'static str,
    layout: &'static str,
    read: fn(&Path) -> Result<Vec<Item>, DataError>,
}

impl Vqa {
    /// VQAv2.
    pub const V2: Self = Self {
        name: "vqav2",
        title: "VQAv2",
        layout: "v2_OpenEnded_mscoco_*_questions.json, v2_mscoco_*_annotations.json, COCO's pictures anywhere below",
        read: read_vqav2,
    };
    /// OK-VQA: questions that need knowledge from elsewhere.
    pub const OK: Self = Self {
        name: "okvqa",
        title: "OK-VQA",
        layout: "OpenEnded_mscoco_*_questions.json, mscoco_*_annotations.json, COCO's pictures anywhere below",
        read: read_okvqa,
    };
    /// VizWiz: pictures and questions of blind people.
    pub const VIZWIZ: Self = Self {
        name: "vizwiz",
        title: "VizWiz",
        layout: "val.json or train.json (perhaps in Annotations), pictures anywhere below",
        read: read_vizwiz,
    };
    /// TextVQA: questions about writing.
    pub const TEXT: Self = Self {
        name: "textvqa",
        title: "TextVQA",
        layout: "TextVQA_*_val.json, pictures anywhere below",
        read: read_text_vqa,
    };
}

impl Benchmark for Vqa {
    fn name(&self) -> &str {
        self.name
    }

    fn title(&self) -> &str {
        self.title
    }

    fn layout(&self) -> &str {
        self.layout
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        (self.read)(folder)
    }

    fn answering(&self) -> Answering {
        one_word()
    }

    fn ask(&self, item: &Item) -> Question {
        ask(item, AnswerForm::Annotators)
    }

    /// The whole, then each type of answer: accuracy by the challenge's tool, and with answers normalised also where
    /// all annotators agree.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let figures = |answers: &[Answered<'_>]| {
            let scored = parts::scored(answers, mode)?;
            let official = Figure::percent("accuracy", accuracy(&scored)?);
            let mut normalized = scored;
            for (scored, answered) in normalized.iter_mut().zip(answers) {
                let truths: Vec<&str> = answered.record.truth.iter().map(String::as_str).collect();
                let readable = answered.record.error.is_none();
                let value = vqa_accuracy(&answered.record.answer, &truths, mode)?;
                scored.value = if readable { value } else { 0.0 };
            }
            let normalized = Figure::percent("accuracy_normalized", accuracy(&normalized)?);
            Ok(vec![official, normalized])
        };
        Ok(Family {
            parts: parts::by_pattern(answers, figures)?,
            ..Family::new(self.name, self.title).about("open questions: agreement with ten people")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        parts::worth_by_pattern(answers, mode)
    }
}

/// A word or two, by beam search, as the paper answers open questions.
pub(super) fn one_word() -> Answering {
    Answering::written(10, 3)
}

/// A question to be answered in one word.
pub(super) fn ask(item: &Item, form: AnswerForm) -> Question {
    let text = format!("{} {}", item.question, protocol::ONE_WORD);
    Question {
        segments: question_prompt(0, &text),
        text,
        form,
    }
}

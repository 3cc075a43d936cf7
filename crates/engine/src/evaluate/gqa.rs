//! GQA: questions about scenes, with one right answer.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_gqa};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure};
use deem_metrics::statistics::accuracy;

use super::{AnswerForm, Answered, Answering, Benchmark, Question, Worth, parts, vqa};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Gqa;

impl Benchmark for Gqa {
    fn name(&self) -> &str {
        "gqa"
    }

    fn title(&self) -> &str {
        "GQA"
    }

    fn layout(&self) -> &str {
        "testdev_balanced_questions.json (or val_), pictures anywhere below"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_gqa(folder)
    }

    fn answering(&self) -> Answering {
        vqa::one_word()
    }

    fn ask(&self, item: &Item) -> Question {
        vqa::ask(item, AnswerForm::Text)
    }

    /// The whole, then binary and open questions.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let figures = |answers: &[Answered<'_>]| {
            let accuracy = accuracy(&parts::scored(answers, mode)?)?;
            Ok(vec![Figure::percent("accuracy", accuracy)])
        };
        Ok(Family {
            parts: parts::by_pattern(answers, figures)?,
            ..Family::new(self.name(), self.title()).about("compositional questions about scenes")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        parts::worth_by_pattern(answers, mode)
    }
}

//! RobustVQA's questions on what was never trained on, by themselves: a style that no training picture has, and concepts
//! that were left out. Asked and scored as RobustVQA is.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::Item;
use deem_data::image::ImageLimits;
use deem_data::world::benchmark::UNSEEN;
use deem_engine::EngineError;
use deem_engine::evaluate::{Answered, Answering, Benchmark, Question, RobustVqa, Worth};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Unseen;

const TITLE: &str = "Never trained on";

impl Benchmark for Unseen {
    fn name(&self) -> &str {
        UNSEEN
    }

    fn title(&self) -> &str {
        TITLE
    }

    fn layout(&self) -> &str {
        RobustVqa.layout()
    }

    fn read(&self, folder: &Path, limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        RobustVqa.read(folder, limits)
    }

    fn together(&self, first: &Item) -> usize {
        RobustVqa.together(first)
    }

    fn answering(&self) -> Answering {
        RobustVqa.answering()
    }

    fn ask(&self, item: &Item) -> Question {
        RobustVqa.ask(item)
    }

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let scored = RobustVqa.family(answers, mode)?;
        Ok(Family {
            name: UNSEEN.into(),
            title: TITLE.into(),
            about: Some(
                "RobustVQA's questions on a style that no training picture has, and on concepts that were left out".into(),
            ),
            ..scored
        })
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        RobustVqa.worth(answers, mode)
    }
}

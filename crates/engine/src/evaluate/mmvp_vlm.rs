//! MMVP-VLM: does an encoder alone tell apart what two pictures differ in? Each of a pair's two statements must lie nearer
//! to its own picture than to the other.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_mmvp_vlm};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use deem_metrics::pairs;

use super::mmvp::{Way, samples, worth_of_pairs};
use super::{AnswerForm, Answered, Answering, Asked, Benchmark, Question, Worth};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct MmvpVlm;

impl Benchmark for MmvpVlm {
    fn name(&self) -> &str {
        "mmvp_vlm"
    }

    fn title(&self) -> &str {
        "MMVP-VLM"
    }

    fn layout(&self) -> &str {
        "Questions.csv, pictures in \"MLLM_VLM Images\""
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_mmvp_vlm(folder)
    }

    /// A pair.
    fn together(&self, _first: &Item) -> usize {
        2
    }

    fn asked(&self) -> Asked {
        Asked::Encoder
    }

    fn answering(&self) -> Answering {
        Answering::likelihood()
    }

    fn ask(&self, item: &Item) -> Question {
        Question {
            segments: Vec::new(),
            text: format!("a photo of {}", item.question),
            form: AnswerForm::Choice,
        }
    }

    /// The whole, then each of the nine patterns.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let score = pairs::score(&samples(answers, Way::Written, mode)?)?;
        Ok(Family {
            parts: Family::from(&score).parts,
            ..Family::new(self.name(), self.title())
                .about("perception of the bare encoder: which of two look-alikes a text describes")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        worth_of_pairs(&samples(answers, Way::Written, mode)?)
    }
}

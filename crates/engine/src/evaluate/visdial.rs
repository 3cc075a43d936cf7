//! VisDial: a hundred candidate answers to a dialogue's next question, ranked by their likelihood.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_visdial};
use deem_data::image::ImageLimits;
use deem_data::text::question_prompt;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure, Part};
use deem_metrics::ndcg::ndcg;
use deem_metrics::statistics::{Scored, accuracy};

use super::{AnswerForm, Answered, Answering, Benchmark, Question, Worth, parts};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct VisDial;

impl Benchmark for VisDial {
    fn name(&self) -> &str {
        "visdial"
    }

    fn title(&self) -> &str {
        "VisDial"
    }

    fn layout(&self) -> &str {
        "visdial_1.0_val.json, visdial_1.0_val_dense_annotations.json, pictures anywhere below"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_visdial(folder)
    }

    fn answering(&self) -> Answering {
        Answering::likelihood()
    }

    fn ask(&self, item: &Item) -> Question {
        Question {
            segments: question_prompt(0, &item.question),
            text: item.question.clone(),
            form: AnswerForm::Text,
        }
    }

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let first = accuracy(&parts::scored(answers, mode)?)?;
        let all = Part::new(
            "all",
            [
                Figure::percent("ndcg", accuracy(&ranked(answers)?)?).titled("NDCG"),
                Figure::percent("first", first).titled("most relevant first"),
            ],
        );
        Ok(Family {
            parts: vec![all],
            ..Family::new(self.name(), self.title()).about("dialogue: ranks a hundred answers")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        Ok(ranked(answers)?.into_iter().map(Worth::from).collect())
    }
}

/// NDCG of each question; one that could not be asked is worth nothing.
fn ranked(answers: &[Answered<'_>]) -> Result<Vec<Scored>, EngineError> {
    let ranked = |answered: &Answered<'_>| {
        let record = answered.record;
        let value = match &record.likelihood {
            Some(likelihood) => ndcg(&likelihood.log_probabilities, &record.relevance)?,
            None => None,
        };
        let (cluster, id) = (record.cluster.clone(), record.id.clone());
        Ok(Scored::new(
            answered.seed,
            cluster,
            id,
            value.unwrap_or(0.0),
        ))
    };
    answers.iter().map(ranked).collect()
}

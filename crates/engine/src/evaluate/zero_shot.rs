//! Zero-shot classification: an encoder alone takes a picture for the label whose sentences lie nearest to it (Radford et al.
//! 2021, §3.1).

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, LabelOptions, read_labelled};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure, Part};
use deem_metrics::statistics::{Scored, accuracy};

use super::ranked::within;
use super::{AnswerForm, Answered, Answering, Asked, Benchmark, Question, Worth};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Debug, Default)]
pub struct ZeroShot {
    /// Labels and what is said of them.
    pub options: LabelOptions,
}

impl Benchmark for ZeroShot {
    fn name(&self) -> &str {
        "zero_shot"
    }

    fn title(&self) -> &str {
        "Zero-shot classification"
    }

    fn layout(&self) -> &str {
        "a folder of pictures for each class, or WebDataset shards with labels"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_labelled(folder, &self.options)
    }

    fn asked(&self) -> Asked {
        Asked::Encoder
    }

    fn answering(&self) -> Answering {
        Answering::likelihood()
    }

    fn ask(&self, _item: &Item) -> Question {
        Question {
            segments: Vec::new(),
            text: "Which of the labels?".into(),
            form: AnswerForm::Candidate,
        }
    }

    /// The share of pictures whose label is the nearest, and one of the five nearest; and the mean of the classes' shares.
    fn family(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Family, EngineError> {
        let of_class = |scored: (Scored, &Answered<'_>)| Scored {
            stratum: scored.1.record.truth.first().cloned().unwrap_or_default(),
            ..scored.0
        };
        let first = within(answers, 1);
        let by_class: Vec<Scored> = first.iter().cloned().zip(answers).map(of_class).collect();
        let all = Part::new(
            "all",
            [
                Figure::percent("accuracy", accuracy(&first)?),
                Figure::percent("top_5", accuracy(&within(answers, 5))?)
                    .titled("among the first five"),
                Figure::percent("class_accuracy", accuracy(&by_class)?)
                    .titled("mean of the classes"),
            ],
        );
        Ok(Family {
            parts: vec![all],
            ..Family::new(self.name(), self.title()).about(
                "recognition by the bare encoder: which label's sentences lie nearest to a picture",
            )
        })
    }

    fn worth(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        Ok(within(answers, 1).into_iter().map(Worth::from).collect())
    }
}

//! Image–text retrieval: an encoder alone finds the picture of a text among all pictures, and a text of a picture among all
//! texts (recall at 1, 5 and 10).

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, RETRIEVAL_PARTS, read_retrieval};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure, Part};
use deem_metrics::statistics::accuracy;

use super::ranked::within;
use super::{AnswerForm, Answered, Answering, Asked, Benchmark, Question, Worth};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Debug, Default)]
pub struct Retrieval {
    /// Which field of a shard's records is the caption, as of the source `webdataset`.
    pub caption: Option<String>,
}

/// How many of the nearest are looked at.
const DEPTHS: [(usize, &str); 3] = [(1, "recall_at_1"), (5, "recall_at_5"), (10, "recall_at_10")];

impl Benchmark for Retrieval {
    fn name(&self) -> &str {
        "retrieval"
    }

    fn title(&self) -> &str {
        "Image–text retrieval"
    }

    fn layout(&self) -> &str {
        "captions of COCO, Flickr30k, JSON Lines or a table with pictures anywhere below, or WebDataset shards"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_retrieval(folder, self.caption.as_deref())
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
            text: if item.question.is_empty() {
                "Which of the texts?".into()
            } else {
                item.question.clone()
            },
            form: AnswerForm::Candidate,
        }
    }

    /// The mean of both directions, then each.
    fn family(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Family, EngineError> {
        let figures = |own: &[Answered<'_>]| -> Result<Vec<Figure>, EngineError> {
            let figures = DEPTHS.iter().map(|(depth, name)| {
                let recall = accuracy(&within(own, *depth))?;
                Ok::<_, EngineError>(
                    Figure::percent(*name, recall).titled(format!("recall at {depth}")),
                )
            });
            figures.collect()
        };
        let mut parts = vec![Part::new("mean", figures(answers)?)];
        for part in RETRIEVAL_PARTS {
            let own: Vec<Answered<'_>> = answers
                .iter()
                .filter(|a| a.record.part == part)
                .copied()
                .collect();
            if !own.is_empty() {
                parts.push(Part::new(part, figures(&own)?));
            }
        }
        Ok(Family {
            parts,
            ..Family::new(self.name(), self.title())
                .about("the bare encoder finds pictures by texts, and texts by pictures")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        Ok(within(answers, 1).into_iter().map(Worth::from).collect())
    }
}

//! Pictures drawn of texts: COCO's captions, and the longer Localized Narratives (LN-COCO).

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_coco_texts, read_narratives};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure, Part, Unit};
use deem_metrics::statistics::mean;

use super::{AnswerForm, Answered, Answering, Asked, Benchmark, Question, Worth, parts};
use crate::EngineError;

/// One of the two: they differ in their files only.
#[derive(Clone, Copy, Debug)]
pub struct TextToImage {
    name: &'static str,
    title: &'static str,
    layout: &'static str,
    read: fn(&Path) -> Result<Vec<Item>, DataError>,
}

impl TextToImage {
    /// COCO: the first caption of each picture.
    pub const COCO: Self = Self {
        name: "coco_generation",
        title: "COCO, drawn",
        layout: "dataset_coco.json or one captions_*.json",
        read: read_coco_texts,
    };
    /// LN-COCO.
    pub const NARRATIVES: Self = Self {
        name: "ln_coco_generation",
        title: "LN-COCO, drawn",
        layout: "coco_val_localized_narratives.jsonl, or shards of it",
        read: read_narratives,
    };
}

impl Benchmark for TextToImage {
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

    fn asked(&self) -> Asked {
        Asked::Drawing
    }

    fn answering(&self) -> Answering {
        Answering {
            written: None,
            likelihood: false,
        }
    }

    fn ask(&self, item: &Item) -> Question {
        Question {
            segments: Vec::new(),
            text: item.question.clone(),
            form: AnswerForm::Picture,
        }
    }

    /// How near pictures are to their texts, and how many there are; the Fréchet distance is of whole sets of features (see
    /// [`deem_metrics::frechet`]).
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let scored = parts::scored(answers, mode)?;
        let nearness = mean(&scored)?.scaled(100.0);
        let count = answers.len() as f64;
        let all = Part::new(
            "all",
            [
                Figure::new("clip_score", nearness, Unit::Score)
                    .titled("cosine with the text × 100"),
                Figure::plain("pictures", count, Unit::Count),
            ],
        );
        Ok(Family {
            parts: vec![all],
            ..Family::new(self.name, self.title).about("pictures drawn of texts")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        Ok(parts::scored(answers, mode)?
            .into_iter()
            .map(Worth::from)
            .collect())
    }
}

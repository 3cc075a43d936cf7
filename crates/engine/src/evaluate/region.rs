//! Descriptions of a marked region, beside what people wrote: regions of one's own, RefCOCO, RefCOCO+, RefCOCOg.

use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_refcoco, read_regions};
use deem_data::image::ImageLimits;
use deem_data::text::region_prompt;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure};
use deem_metrics::statistics::accuracy;

use super::{AnswerForm, Answered, Answering, Benchmark, Question, Worth, captions, parts};
use crate::EngineError;

/// One of these benchmarks: they differ in their files only.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    name: &'static str,
    title: &'static str,
    layout: &'static str,
    read: fn(&Path, ImageLimits) -> Result<Vec<Item>, DataError>,
}

const REFCOCO: &str =
    "refs(unc).p, refs(umd).p or refs(google).p, instances.json, COCO's pictures anywhere below";

impl Region {
    /// Regions in COCO's layout with captions of their own.
    pub const OWN: Self = Self {
        name: "region",
        title: "Regions",
        layout: "region.json (COCO's images and annotations with captions), pictures anywhere below",
        read: read_regions,
    };
    /// RefCOCO.
    pub const REFCOCO: Self = Self {
        name: "refcoco",
        title: "RefCOCO",
        layout: REFCOCO,
        read: refcoco,
    };
    /// RefCOCO+, without words of place.
    pub const REFCOCO_PLUS: Self = Self {
        name: "refcoco_plus",
        title: "RefCOCO+",
        ..Self::REFCOCO
    };
    /// RefCOCOg, in whole sentences.
    pub const REFCOCOG: Self = Self {
        name: "refcocog",
        title: "RefCOCOg",
        ..Self::REFCOCO
    };
}

fn refcoco(folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
    read_refcoco(folder)
}

impl Benchmark for Region {
    fn name(&self) -> &str {
        self.name
    }

    fn title(&self) -> &str {
        self.title
    }

    fn layout(&self) -> &str {
        self.layout
    }

    fn read(&self, folder: &Path, limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        (self.read)(folder, limits)
    }

    fn answering(&self) -> Answering {
        Answering::written(20, 5)
    }

    fn ask(&self, _item: &Item) -> Question {
        Question {
            segments: region_prompt(0),
            text: String::new(),
            form: AnswerForm::Text,
        }
    }

    /// The whole, then each split.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let figures = |answers: &[Answered<'_>]| {
            let mut figures = captions::figures(answers)?;
            let exact = accuracy(&parts::scored(answers, mode)?)?;
            figures.insert(1, Figure::percent("exact", exact).titled("exact match"));
            Ok(figures)
        };
        Ok(Family {
            parts: parts::by_part(answers, figures)?,
            ..Family::new(self.name, self.title).about("descriptions of a marked region")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        captions::worth(answers)
    }
}

//! Descriptions of a marked region, beside what people wrote.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_regions};
use deem_data::image::ImageLimits;
use deem_data::text::region_prompt;
use deem_metrics::answer::ParseMode;
use deem_metrics::caption::{CaptionSample, Meteor, score};
use deem_metrics::figures::{Family, Figure, Part, Unit};
use deem_metrics::statistics::{Scored, accuracy, mean};

use super::{AnswerForm, Answered, Answering, Benchmark, Question};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Region;

impl Benchmark for Region {
    fn name(&self) -> &str {
        "region"
    }

    fn title(&self) -> &str {
        "Regions"
    }

    fn layout(&self) -> &str {
        "region.json (COCO's images and annotations with captions), pictures anywhere below"
    }

    fn read(&self, folder: &Path, limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_regions(folder, limits)
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

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let exact = answers
            .iter()
            .map(|answered| answered.scored("", mode))
            .collect::<Result<Vec<Scored>, _>>()?;
        // CIDEr weighs words by the set they are in: each seed by itself.
        let mut seeds: BTreeMap<u64, Vec<(CaptionSample, &Scored)>> = BTreeMap::new();
        for (answered, exact) in answers.iter().zip(&exact) {
            let caption = CaptionSample {
                candidate: answered.record.answer.trim().to_owned(),
                references: answered.record.truth.clone(),
            };
            let of_seed = seeds.entry(answered.seed).or_default();
            of_seed.push((caption, exact));
        }
        let mut cider = Vec::new();
        for answers in seeds.values() {
            let captions: Vec<CaptionSample> = answers.iter().map(|(c, _)| c.clone()).collect();
            let scores = score(&captions, &Meteor::new())?.samples;
            let scored = answers
                .iter()
                .zip(scores)
                .map(|((_, exact), score)| Scored {
                    value: 100.0 * score.cider,
                    ..(*exact).clone()
                });
            cider.extend(scored);
        }
        // As papers print it: a hundred times what the tool prints.
        let cider = Figure::new("cider", mean(&cider)?, Unit::Score).titled("CIDEr");
        let exact = Figure::percent("exact", accuracy(&exact)?).titled("exact match");
        let mut family = Family::new(self.name(), self.title());
        family.parts = vec![Part::new("all", [cider, exact])];
        Ok(family.about("descriptions of a marked region"))
    }
}

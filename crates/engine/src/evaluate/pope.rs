//! POPE: is an object there, with random, popular and adversarial absent objects.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_pope};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use deem_metrics::pope::{self, PopeSplit};
use deem_metrics::yes_no::YesNoSample;

use super::{Answered, Answering, Benchmark, Question, Worth, yes_no};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Pope;

impl Benchmark for Pope {
    fn name(&self) -> &str {
        "pope"
    }

    fn title(&self) -> &str {
        "POPE"
    }

    fn layout(&self) -> &str {
        "any of coco_pope_{random,popular,adversarial}.json, pictures anywhere below"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_pope(folder)
    }

    fn answering(&self) -> Answering {
        yes_no::answering()
    }

    fn ask(&self, item: &Item) -> Question {
        yes_no::ask(item)
    }

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        Ok((&pope::score(&splits(answers, mode)?)?).into())
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        let scored = pope::scored(&splits(answers, mode)?);
        Ok(scored.into_iter().map(Worth::from).collect())
    }
}

type Splits = BTreeMap<PopeSplit, Vec<YesNoSample>>;

fn splits(answers: &[Answered<'_>], mode: ParseMode) -> Result<Splits, EngineError> {
    let mut splits = Splits::new();
    for split in PopeSplit::ALL {
        let samples = yes_no::samples(answers, split.name(), mode)?;
        if !samples.is_empty() {
            splits.insert(split, samples);
        }
    }
    Ok(splits)
}

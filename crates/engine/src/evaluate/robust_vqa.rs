//! RobustVQA: is a label the main object, on pictures that a zero-shot classifier gets wrong.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_robust_vqa};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure};
use deem_metrics::ranking::rank_by_margin;
use deem_metrics::robust_vqa;
use deem_metrics::statistics::accuracy;
use deem_metrics::yes_no::YesNoSample;

use super::{Answered, Answering, Benchmark, Question, Worth, yes_no};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct RobustVqa;

impl Benchmark for RobustVqa {
    fn name(&self) -> &str {
        "robust_vqa"
    }

    fn title(&self) -> &str {
        "RobustVQA"
    }

    fn layout(&self) -> &str {
        "one JSON file with imagenet_a, imagenet_r, imagenet_v2 or sets of one's own, pictures anywhere below"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_robust_vqa(folder)
    }

    /// The true and the mined label of a picture.
    fn together(&self, _first: &Item) -> usize {
        2
    }

    fn answering(&self) -> Answering {
        yes_no::answering()
    }

    fn ask(&self, item: &Item) -> Question {
        yes_no::ask(item)
    }

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let sets = sets(answers, mode)?;
        let mut family = Family::from(&robust_vqa::score(&sets)?);
        let all: Vec<YesNoSample> = sets.into_values().flatten().collect();
        let ranked = rank_by_margin(&all, "")?;
        if let (Some(mean), false) = (family.parts.first_mut(), ranked.is_empty()) {
            // Free of a liking for either word: how often yes is likelier for the true than for the mined label.
            let ranking = Figure::percent("ranking", accuracy(&ranked)?).chance(50.0);
            mean.figures.push(ranking);
        }
        Ok(family)
    }

    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        let scored = robust_vqa::scored(&sets(answers, mode)?);
        Ok(scored.into_iter().map(Worth::from).collect())
    }
}

type Sets = BTreeMap<String, Vec<YesNoSample>>;

fn sets(answers: &[Answered<'_>], mode: ParseMode) -> Result<Sets, EngineError> {
    let mut names: Vec<&str> = answers.iter().map(|a| a.record.part.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let samples = |name: &str| yes_no::samples(answers, name, mode);
    names
        .into_iter()
        .map(|name| Ok((name.to_owned(), samples(name)?)))
        .collect()
}

//! MMBench: questions with up to four options, asked with the options in every order.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_mmbench};
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::circular::{self, CircularSample};
use deem_metrics::figures::Family;

use super::examiner::choice;
use super::mmvp::{LIKELIHOOD, Way};
use super::{Answered, Answering, Benchmark, Question, Worth};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct MmBench;

impl Benchmark for MmBench {
    fn name(&self) -> &str {
        "mmbench"
    }

    fn title(&self) -> &str {
        "MMBench"
    }

    fn layout(&self) -> &str {
        "one MMBench*.tsv with answers and pictures in base64"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_mmbench(folder)
    }

    /// All orders of the options.
    fn together(&self, first: &Item) -> usize {
        first.options.len()
    }

    fn answering(&self) -> Answering {
        Answering::words(16).and_likelihood()
    }

    fn ask(&self, item: &Item) -> Question {
        choice(item)
    }

    /// The whole, then each category; by what was written, and beside it by likelihood.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let mut family = Family::from(&circular::score(&samples(answers, Way::Written, mode)?)?);
        let likelihood = circular::score(&samples(answers, Way::Likelihood, mode)?)?;
        for (part, more) in family.parts.iter_mut().zip(likelihood.parts()) {
            part.figures
                .extend(more.figures.into_iter().map(|mut figure| {
                    figure.title = Some(format!("{} by likelihood", figure.label()));
                    figure.name.push_str(LIKELIHOOD);
                    figure
                }));
        }
        Ok(family)
    }

    /// Whole questions, by category.
    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        let samples = samples(answers, Way::Written, mode)?;
        let categories: BTreeMap<&str, &str> = samples
            .iter()
            .map(|s| (s.question.as_str(), s.category.as_str()))
            .collect();
        let category = |question: &str| (*categories.get(question).unwrap_or(&"")).to_owned();
        let scored = circular::scored(&samples)?.into_iter();
        Ok(scored
            .map(|scored| Worth {
                part: category(&scored.question),
                scored,
            })
            .collect())
    }
}

/// Answers with the number of their order: a question's are neighbours, the file's own order first.
fn samples(
    answers: &[Answered<'_>],
    way: Way,
    mode: ParseMode,
) -> Result<Vec<CircularSample>, EngineError> {
    let mut turns: BTreeMap<(u64, &str), usize> = BTreeMap::new();
    let mut samples = Vec::with_capacity(answers.len());
    for answered in answers {
        let record = answered.record;
        let turn = turns.entry((answered.seed, &record.cluster)).or_default();
        samples.push(CircularSample {
            seed: answered.seed,
            question: record.cluster.clone(),
            turn: *turn,
            category: record.pattern.clone().unwrap_or_default(),
            image: record.image.clone(),
            correct: way.correct(record, mode)?,
        });
        *turn += 1;
    }
    Ok(samples)
}

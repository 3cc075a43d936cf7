//! MMVP: pairs of pictures that an encoder hardly tells apart; a pair counts if both of its questions are right.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{Item, read_mmvp};
use deem_data::image::ImageLimits;
use deem_metrics::answer::{ParseMode, Verdict, parse_choice};
use deem_metrics::figures::Family;
use deem_metrics::pairs::{self, PairSample};

use super::examiner::choice;
use super::{Answered, Answering, Benchmark, Question, Record, Worth, verdict};
use crate::EngineError;

/// The benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Mmvp {
    answering: Answering,
}

impl Default for Mmvp {
    /// As published, the letter or the text that the model writes, and by the likelihood of the options, too.
    fn default() -> Self {
        Self {
            answering: Answering::words(16).and_likelihood(),
        }
    }
}

impl Mmvp {
    /// By the likelihood of the options alone: for models that have not learnt to write a choice.
    pub fn by_likelihood() -> Self {
        Self {
            answering: Answering::likelihood(),
        }
    }
}

/// How the option that counts was found.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Written,
    Likelihood,
}

impl Way {
    /// Whether an answer is right in this way; nothing if it is not clear.
    pub(super) fn correct(
        self,
        record: &Record,
        mode: ParseMode,
    ) -> Result<Option<bool>, EngineError> {
        match self {
            Self::Written => Ok(verdict(record, mode)?.correct()),
            Self::Likelihood => {
                let options: Vec<&str> = record.options.iter().map(String::as_str).collect();
                let truth = record.truth.first().map_or("", String::as_str);
                let truth = parse_choice(truth, &options, ParseMode::Strict).ok_or_else(|| {
                    deem_metrics::MetricsError::Truth {
                        found: truth.to_owned(),
                        expected: "the letter or the words of one option",
                    }
                })?;
                let chosen = record.likelihood.as_ref().map(|l| l.chosen);
                Ok(Verdict::of(chosen, &truth).correct())
            }
        }
    }
}

/// Ending of the names of figures by likelihood.
pub(super) const LIKELIHOOD: &str = "_likelihood";

impl Benchmark for Mmvp {
    fn name(&self) -> &str {
        "mmvp"
    }

    fn title(&self) -> &str {
        "MMVP"
    }

    fn layout(&self) -> &str {
        "Questions.csv, pictures in \"MMVP Images\""
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        read_mmvp(folder)
    }

    /// A pair.
    fn together(&self, _first: &Item) -> usize {
        2
    }

    fn answering(&self) -> Answering {
        self.answering
    }

    fn ask(&self, item: &Item) -> Question {
        choice(item)
    }

    /// The figures of both ways stand side by side in each part.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let mut families = Vec::new();
        for way in self.ways() {
            let mut family = Family::from(&pairs::score(&samples(answers, way, mode)?)?);
            if let Way::Likelihood = way {
                let parts = family.parts.iter_mut();
                for figure in parts.flat_map(|part| &mut part.figures) {
                    figure.name.push_str(LIKELIHOOD);
                    figure.title = figure.title.take().map(|title| title + " by likelihood");
                }
            }
            families.push(family);
        }
        let mut families = families.into_iter();
        let mut whole = families
            .next()
            .unwrap_or_else(|| Family::new("mmvp", "MMVP"));
        for other in families {
            for (part, more) in whole.parts.iter_mut().zip(other.parts) {
                part.figures.extend(more.figures);
            }
        }
        // The published files do not name their patterns.
        whole.parts.retain(|part| !part.name.is_empty());
        Ok(whole)
    }

    /// Of the way that comes first, by pattern. Pairs weigh the same, patterns as many pairs as they have.
    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        let Some(way) = self.ways().next() else {
            return Ok(Vec::new());
        };
        worth_of_pairs(&samples(answers, way, mode)?)
    }
}

impl Mmvp {
    fn ways(&self) -> impl Iterator<Item = Way> {
        let written = self.answering.written.map(|_| Way::Written);
        let likelihood = self.answering.likelihood.then_some(Way::Likelihood);
        written.into_iter().chain(likelihood)
    }
}

/// What each pair is worth, by pattern.
pub(super) fn worth_of_pairs(samples: &[PairSample]) -> Result<Vec<Worth>, EngineError> {
    let of_pair = samples
        .iter()
        .map(|s| (s.pair.as_str(), s.pattern.as_str()));
    let patterns: BTreeMap<&str, &str> = of_pair.collect();
    let pattern = |pair: &str| (*patterns.get(pair).unwrap_or(&"")).to_owned();
    let scored = pairs::scored(samples)?.into_iter();
    Ok(scored
        .map(|scored| Worth {
            part: pattern(&scored.question),
            scored,
        })
        .collect())
}

pub(super) fn samples(
    answers: &[Answered<'_>],
    way: Way,
    mode: ParseMode,
) -> Result<Vec<PairSample>, EngineError> {
    let sample = |answered: &Answered<'_>| {
        let record = answered.record;
        Ok(PairSample {
            seed: answered.seed,
            pair: record.cluster.clone(),
            pattern: record.pattern.clone().unwrap_or_default(),
            correct: way.correct(record, mode)?,
        })
    };
    answers.iter().map(sample).collect()
}

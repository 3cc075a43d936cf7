//! From records to figures.

use std::collections::BTreeMap;

use deem_metrics::answer::{ParseMode, exact_match, parse_choice, parse_yes_no};
use deem_metrics::caption::{CaptionSample, Meteor, score as score_captions};
use deem_metrics::pairs::{self, PairSample, PairScore};
use deem_metrics::pope::{self, PopeScore, PopeSplit};
use deem_metrics::ranking::rank_by_margin;
use deem_metrics::robust_vqa::{self, RobustSet, RobustVqaScore};
use deem_metrics::statistics::{
    Difference, Interval, Scored, accuracy, mean, paired_by_part, paired_difference,
};
use deem_metrics::yes_no::YesNoSample;

use super::records::Record;
use crate::EngineError;

/// Region descriptions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionScore {
    /// CIDEr-D times 100, as papers print it.
    pub cider: Interval,
    /// Share of descriptions equal to a reference, as a fraction.
    pub exact: Interval,
}

/// All figures of one arm, over all its seeds. Fractions.
#[derive(Clone, Debug)]
pub struct Scores {
    /// RobustVQA.
    pub robust_vqa: RobustVqaScore,
    /// POPE.
    pub pope: PopeScore,
    /// MMVP.
    pub mmvp: PairScore,
    /// Region descriptions, if evaluated.
    pub region: Option<RegionScore>,
    /// RobustVQA free of yes-bias: how often "yes" is likelier for the true label than for the mined
    /// one.
    pub ranking: Interval,
}

/// Parsed answers of one arm, over all its seeds.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    robust: BTreeMap<RobustSet, Vec<YesNoSample>>,
    pope: BTreeMap<PopeSplit, Vec<YesNoSample>>,
    mmvp: Vec<PairSample>,
    region: BTreeMap<u64, Vec<(CaptionSample, Scored)>>,
}

impl Answers {
    /// Adds the records of one seed.
    pub fn add(&mut self, seed: u64, records: &[Record], mode: ParseMode) {
        for record in records {
            let (family, part) = record
                .benchmark
                .split_once('/')
                .unwrap_or((&record.benchmark, ""));
            match family {
                "robust_vqa" => {
                    if let Some(set) = RobustSet::ALL.into_iter().find(|s| s.name() == part) {
                        self.robust
                            .entry(set)
                            .or_default()
                            .extend(yes_no(seed, record, mode));
                    }
                }
                "pope" => {
                    if let Some(split) = PopeSplit::ALL.into_iter().find(|s| s.name() == part) {
                        self.pope
                            .entry(split)
                            .or_default()
                            .extend(yes_no(seed, record, mode));
                    }
                }
                "mmvp" => self.mmvp.push(PairSample {
                    seed,
                    pair: record.cluster.clone(),
                    pattern: record.pattern.clone().unwrap_or_default(),
                    correct: choice(record, mode),
                }),
                _ => {
                    let answers = self.region.entry(seed).or_default();
                    answers.push(region(seed, record, mode));
                }
            }
        }
    }

    /// The figures.
    ///
    /// # Errors
    /// `Metrics` if a benchmark has no answers or an incomplete pair.
    pub fn scores(&self) -> Result<Scores, EngineError> {
        let robust: Vec<YesNoSample> = self.robust.values().flatten().cloned().collect();
        Ok(Scores {
            robust_vqa: robust_vqa::score(&self.robust)?,
            pope: pope::score(&self.pope)?,
            mmvp: pairs::score(&self.mmvp)?,
            region: self.region_score()?,
            ranking: accuracy(&rank_by_margin(&robust, "")?)?,
        })
    }

    fn region_score(&self) -> Result<Option<RegionScore>, EngineError> {
        if self.region.is_empty() {
            return Ok(None);
        }
        let mut cider = Vec::new();
        // CIDEr weighs words by the set they are in: each seed by itself.
        for answers in self.region.values() {
            let captions: Vec<CaptionSample> = answers.iter().map(|(c, _)| c.clone()).collect();
            let scores = score_captions(&captions, &Meteor::new())?.samples;
            cider.extend(
                answers
                    .iter()
                    .zip(scores)
                    .map(|((_, exact), score)| Scored {
                        value: 100.0 * score.cider,
                        ..exact.clone()
                    }),
            );
        }
        let exact: Vec<Scored> = self
            .region
            .values()
            .flatten()
            .map(|(_, s)| s.clone())
            .collect();
        Ok(Some(RegionScore {
            cider: mean(&cider)?,
            exact: accuracy(&exact)?,
        }))
    }

    /// Paired differences to another arm on the same questions and seeds: RobustVQA, POPE, MMVP.
    ///
    /// # Errors
    /// `Metrics` if the arms did not answer the same questions.
    pub fn differences(&self, control: &Self) -> Result<[Comparison; 3], EngineError> {
        let pattern_of: BTreeMap<&str, &str> = self
            .mmvp
            .iter()
            .map(|s| (s.pair.as_str(), s.pattern.as_str()))
            .collect();
        let stratum = |scored: &Scored| scored.stratum.clone();
        Ok([
            Comparison::new(
                &robust_vqa::scored(&self.robust),
                &robust_vqa::scored(&control.robust),
                stratum,
            )?,
            Comparison::new(
                &pope::scored(&self.pope),
                &pope::scored(&control.pope),
                stratum,
            )?,
            Comparison::new(
                &pairs::scored(&self.mmvp)?,
                &pairs::scored(&control.mmvp)?,
                |pair| (*pattern_of.get(pair.question.as_str()).unwrap_or(&"")).to_owned(),
            )?,
        ])
    }
}

/// Paired difference in one benchmark, as fractions.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Over all questions.
    pub total: Difference,
    /// For each set, split or pattern.
    pub parts: BTreeMap<String, Difference>,
}

impl Comparison {
    /// Compares two runs; `part` names the part that a question belongs to.
    ///
    /// # Errors
    /// `Metrics` if they did not answer the same questions.
    pub fn new(
        treatment: &[Scored],
        control: &[Scored],
        part: impl Fn(&Scored) -> String,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            total: paired_difference(treatment, control)?,
            parts: paired_by_part(treatment, control, part)?,
        })
    }
}

fn yes_no(seed: u64, record: &Record, mode: ParseMode) -> Option<YesNoSample> {
    Some(YesNoSample {
        seed,
        image: record.cluster.clone(),
        question: record.id.clone(),
        truth: parse_yes_no(record.truth.first()?, ParseMode::Strict)?,
        answer: parse_yes_no(&record.answer, mode),
        margin: record.error.is_none().then_some(record.margin),
    })
}

fn choice(record: &Record, mode: ParseMode) -> Option<bool> {
    let options = record.options.as_ref()?;
    let options = [options[0].as_str(), options[1].as_str()];
    let chosen = parse_choice(&record.answer, &options, mode)?;
    let truth = parse_choice(record.truth.first()?, &options, ParseMode::Strict)?;
    Some(chosen == truth)
}

fn region(seed: u64, record: &Record, mode: ParseMode) -> (CaptionSample, Scored) {
    let right = record
        .truth
        .iter()
        .any(|t| exact_match(&record.answer, t, mode));
    let caption = CaptionSample {
        candidate: record.answer.trim().to_owned(),
        references: record.truth.clone(),
    };
    let value = f64::from(u8::from(right));
    (
        caption,
        Scored::new(seed, record.cluster.clone(), record.id.clone(), value),
    )
}

//! From records to figures.

use std::collections::BTreeMap;

use deem_metrics::answer::{AnswerKind, ParseMode, Verdict, judge, parse_yes_no};
use deem_metrics::caption::{CaptionSample, Meteor, score as score_captions};
use deem_metrics::figures::{Counts, Family, Figure, Part, Unit};
use deem_metrics::pairs::{self, PairSample};
use deem_metrics::pope::{self, PopeSplit};
use deem_metrics::ranking::rank_by_margin;
use deem_metrics::robust_vqa::{self, RobustSet};
use deem_metrics::statistics::{
    Interval, Scored, accuracy, mean, paired_by_part, paired_difference,
};
use deem_metrics::yes_no::YesNoSample;

use super::records::Record;
use crate::EngineError;

/// Descriptions of regions.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RegionScore {
    /// CIDEr-D times 100, as papers print it.
    cider: Interval,
    /// Share of descriptions equal to a reference, as a fraction.
    exact: Interval,
    /// Descriptions.
    samples: usize,
}

/// Parsed answers of one arm, over all its seeds.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    robust: BTreeMap<RobustSet, Vec<YesNoSample>>,
    pope: BTreeMap<PopeSplit, Vec<YesNoSample>>,
    mmvp: Vec<PairSample>,
    region: BTreeMap<u64, Vec<(CaptionSample, Scored)>>,
    /// Questions whose picture could not be read, by family.
    unreadable: BTreeMap<String, usize>,
}

impl Answers {
    /// Adds the records of one seed.
    ///
    /// # Errors
    /// `Metrics` for a record whose right answer no answer can be compared with.
    pub fn add(
        &mut self,
        seed: u64,
        records: &[Record],
        mode: ParseMode,
    ) -> Result<(), EngineError> {
        for record in records {
            let (family, part) = family_and_part(record);
            if record.error.is_some() {
                *self.unreadable.entry(family.to_owned()).or_default() += 1;
            }
            match family {
                "robust_vqa" => {
                    if let Some(set) = RobustSet::ALL.into_iter().find(|s| s.name() == part) {
                        let samples = self.robust.entry(set).or_default();
                        samples.extend(yes_no(seed, record, mode));
                    }
                }
                "pope" => {
                    if let Some(split) = PopeSplit::ALL.into_iter().find(|s| s.name() == part) {
                        let samples = self.pope.entry(split).or_default();
                        samples.extend(yes_no(seed, record, mode));
                    }
                }
                "mmvp" => self.mmvp.push(PairSample {
                    seed,
                    pair: record.cluster.clone(),
                    pattern: record.pattern.clone().unwrap_or_default(),
                    correct: verdict(record, mode)?.correct(),
                }),
                _ => {
                    let answers = self.region.entry(seed).or_default();
                    answers.push(region(seed, record, mode)?);
                }
            }
        }
        Ok(())
    }

    /// The figures, a family for each benchmark.
    ///
    /// # Errors
    /// `Metrics` if a benchmark has no answers or an incomplete pair.
    pub fn families(&self) -> Result<Vec<Family>, EngineError> {
        let robust: Vec<YesNoSample> = self.robust.values().flatten().cloned().collect();
        let mut robust_vqa = Family::from(&robust_vqa::score(&self.robust)?);
        if let Some(mean) = robust_vqa.parts.first_mut() {
            // Free of a liking for either word: how often yes is likelier for the true than for the mined label.
            let ranking = accuracy(&rank_by_margin(&robust, "")?)?;
            let ranking = Figure::percent("ranking", ranking).chance(50.0);
            mean.figures.push(ranking);
        }
        let mut families = vec![
            (&pairs::score(&self.mmvp)?).into(),
            (&pope::score(&self.pope)?).into(),
            robust_vqa,
        ];
        families.extend(self.region_score()?.map(Family::from));
        for family in &mut families {
            let unreadable = self.unreadable.get(&family.name).copied();
            if let (Some(counts), Some(unreadable)) = (&mut family.counts, unreadable) {
                counts.unreadable = unreadable;
                // The scorers saw them as answers that say nothing.
                counts.unparseable = counts.unparseable.saturating_sub(unreadable);
            }
        }
        Ok(families)
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
            samples: exact.len(),
        }))
    }

    /// Paired differences to another arm on the same questions and seeds, in percentage points.
    ///
    /// # Errors
    /// `Metrics` if the arms did not answer the same questions.
    pub fn differences(&self, control: &Self) -> Result<Vec<Family>, EngineError> {
        let pattern_of: BTreeMap<&str, &str> = self
            .mmvp
            .iter()
            .map(|s| (s.pair.as_str(), s.pattern.as_str()))
            .collect();
        let pattern =
            |pair: &Scored| (*pattern_of.get(pair.question.as_str()).unwrap_or(&"")).to_owned();
        let stratum = |scored: &Scored| scored.stratum.clone();
        let mut compared = Vec::new();
        for family in self.families()? {
            compared.push(match family.name.as_str() {
                "mmvp" => {
                    let (ours, theirs) = (pairs::scored(&self.mmvp)?, pairs::scored(&control.mmvp)?);
                    compare(&family, &ours, &theirs, pattern)?
                }
                "pope" => {
                    let (ours, theirs) = (pope::scored(&self.pope), pope::scored(&control.pope));
                    compare(&family, &ours, &theirs, stratum)?
                }
                "robust_vqa" => {
                    let ours = robust_vqa::scored(&self.robust);
                    let theirs = robust_vqa::scored(&control.robust);
                    compare(&family, &ours, &theirs, stratum)?
                }
                _ => continue,
            });
        }
        Ok(compared)
    }
}

/// Compares two runs in one benchmark; `part` names the part that a question belongs to.
fn compare(
    family: &Family,
    treatment: &[Scored],
    control: &[Scored],
    part: impl Fn(&Scored) -> String,
) -> Result<Family, EngineError> {
    let total = paired_difference(treatment, control)?;
    let parts = paired_by_part(treatment, control, part)?;
    Ok(family.differences(&total, &parts))
}

impl From<RegionScore> for Family {
    fn from(score: RegionScore) -> Self {
        let cider = Figure::new("cider", score.cider, Unit::Score).titled("CIDEr");
        let exact = Figure::percent("exact", score.exact).titled("exact match");
        Self {
            counts: Some(Counts {
                samples: score.samples,
                ..Counts::default()
            }),
            parts: vec![Part::new("all", [cider, exact])],
            ..Self::new("region", "Regions").about("descriptions of a marked region")
        }
    }
}

/// Whether a record's answer is right: what scores count and what examples show.
///
/// # Errors
/// `Metrics` if the right answer is none that an answer can be compared with.
pub fn verdict(record: &Record, mode: ParseMode) -> Result<Verdict, EngineError> {
    let options: Vec<&str> = record.options.iter().flatten().map(String::as_str).collect();
    let kind = match family_and_part(record).0 {
        _ if !options.is_empty() => AnswerKind::Choice(&options),
        "pope" | "robust_vqa" => AnswerKind::YesNo,
        _ => AnswerKind::Text,
    };
    Ok(judge(&record.answer, &record.truth, kind, mode)?)
}

fn family_and_part(record: &Record) -> (&str, &str) {
    let benchmark = record.benchmark.as_str();
    benchmark.split_once('/').unwrap_or((benchmark, ""))
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

fn region(
    seed: u64,
    record: &Record,
    mode: ParseMode,
) -> Result<(CaptionSample, Scored), EngineError> {
    let right = verdict(record, mode)?.is_right();
    let caption = CaptionSample {
        candidate: record.answer.trim().to_owned(),
        references: record.truth.clone(),
    };
    let value = f64::from(u8::from(right));
    let scored = Scored::new(seed, record.cluster.clone(), record.id.clone(), value);
    Ok((caption, scored))
}

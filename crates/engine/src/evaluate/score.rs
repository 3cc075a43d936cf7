//! From records to figures.

use std::collections::BTreeMap;

use deem_metrics::MetricsError;
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
                        samples.push(yes_no(seed, record, mode)?);
                    }
                }
                "pope" => {
                    if let Some(split) = PopeSplit::ALL.into_iter().find(|s| s.name() == part) {
                        let samples = self.pope.entry(split).or_default();
                        samples.push(yes_no(seed, record, mode)?);
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
                    let (ours, theirs) =
                        (pairs::scored(&self.mmvp)?, pairs::scored(&control.mmvp)?);
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
    let options: Vec<&str> = record
        .options
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
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

fn yes_no(seed: u64, record: &Record, mode: ParseMode) -> Result<YesNoSample, EngineError> {
    let truth = record.truth.first().map_or("", String::as_str);
    Ok(YesNoSample {
        seed,
        image: record.cluster.clone(),
        question: record.id.clone(),
        truth: parse_yes_no(truth, ParseMode::Strict).ok_or_else(|| MetricsError::Truth {
            found: truth.to_owned(),
            expected: "yes or no",
        })?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use deem_metrics::figures::named;

    fn record(benchmark: &str, id: &str, cluster: &str, truth: &str, answer: &str) -> Record {
        Record {
            id: id.into(),
            benchmark: benchmark.into(),
            cluster: cluster.into(),
            pattern: None,
            prompt: String::new(),
            options: None,
            truth: vec![truth.into()],
            answer: answer.into(),
            margin: 0.5,
            error: None,
        }
    }

    /// A pair about orientation: truth by letter, answers in the options' words.
    fn orientation(id: &str, truth: &str, answer: &str) -> Record {
        Record {
            pattern: Some("orientation".into()),
            options: Some(["upright".into(), "upside down".into()]),
            ..record("mmvp/pairs", id, "pair 1", truth, answer)
        }
    }

    fn records() -> Vec<Record> {
        let unreadable = Record {
            error: Some("cannot read 2.png".into()),
            ..record("pope/random", "2", "2.png", "no", "")
        };
        vec![
            orientation("1", "(a)", "upright"),
            orientation("2", "(b)", "upside down"),
            record("pope/random", "1", "1.png", "yes", "Yes."),
            unreadable,
            record("robust_vqa/A", "1", "1.png", "yes", "yes"),
            record("robust_vqa/A", "2", "1.png", "no", "perhaps"),
            record("region/captions", "1", "1.png", "a red cat", "red cat"),
        ]
    }

    fn answers(records: &[Record]) -> Answers {
        let mut answers = Answers::default();
        answers.add(1, records, ParseMode::Strict).unwrap();
        answers
    }

    #[test]
    fn what_is_shown_as_right_is_what_scores_count() {
        let records = records();
        let right: Vec<bool> = records
            .iter()
            .map(|record| verdict(record, ParseMode::Strict).unwrap().is_right())
            .collect();
        assert_eq!(right, [true, true, true, false, true, false, true]);
        let families = answers(&records).families().unwrap();
        let score = |family: &str, part: &str, figure: &str| {
            let family = named::find(&families, family).unwrap();
            family.figure(part, figure).unwrap().mean
        };
        assert_eq!(score("mmvp", "orientation", "pair_accuracy"), 100.0);
        assert_eq!(score("pope", "random", "accuracy"), 50.0);
        assert_eq!(score("robust_vqa", "mean", "accuracy"), 50.0);
        assert_eq!(score("robust_vqa", "mean", "ranking"), 50.0);
        assert_eq!(score("region", "all", "exact"), 100.0);
    }

    #[test]
    fn unreadable_pictures_and_unclear_answers_are_counted_apart() {
        let families = answers(&records()).families().unwrap();
        let counts = |name: &str| named::find(&families, name).unwrap().counts.unwrap();
        let pope = counts("pope");
        assert_eq!((pope.samples, pope.unreadable, pope.unparseable), (2, 1, 0));
        let robust = counts("robust_vqa");
        assert_eq!((robust.unreadable, robust.unparseable), (0, 1));
    }

    #[test]
    fn differences_have_the_names_of_the_figures() {
        let mut worse = records();
        worse[0].answer = "upside down".into();
        let (treatment, control) = (answers(&records()), answers(&worse));
        let differences = treatment.differences(&control).unwrap();
        let names: Vec<&str> = differences.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["mmvp", "pope", "robust_vqa"]);
        let lost = differences[0]
            .figure("orientation", "pair_accuracy")
            .unwrap();
        assert_eq!((lost.mean, lost.unit), (100.0, Unit::Points));
    }

    #[test]
    fn a_truth_that_no_answer_can_equal_is_an_error() {
        for bad in [
            orientation("1", "(c)", "upright"),
            record("pope/random", "1", "1.png", "maybe", "yes"),
        ] {
            let error = Answers::default()
                .add(1, &[bad], ParseMode::Strict)
                .unwrap_err();
            assert!(error.to_string().contains("right answer"), "{error}");
        }
    }
}

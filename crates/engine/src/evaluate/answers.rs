//! Answers of one model to several benchmarks, over all its seeds.

use std::collections::BTreeMap;

use deem_metrics::answer::{ParseMode, Verdict};
use deem_metrics::figures::{Counts, Family};
use deem_metrics::statistics::{Scored, paired_by_part, paired_difference};

use super::{Answered, Benchmark, BenchmarkRegistry, Record, Worth, verdict};
use crate::EngineError;

/// Answers of one model (an arm of a study, say) to the benchmarks of a registry.
#[derive(Clone)]
pub struct Answers {
    registry: BenchmarkRegistry,
    mode: ParseMode,
    records: Vec<(u64, Record)>,
}

impl Answers {
    /// None so far; answers will be read in `mode`.
    pub fn new(registry: &BenchmarkRegistry, mode: ParseMode) -> Self {
        Self {
            registry: registry.clone(),
            mode,
            records: Vec::new(),
        }
    }

    /// Adds the records of one seed.
    pub fn add(&mut self, seed: u64, records: impl IntoIterator<Item = Record>) {
        self.records
            .extend(records.into_iter().map(|record| (seed, record)));
    }

    /// The figures, a family for each benchmark that has answers, in the registry's order.
    ///
    /// # Errors
    /// `UnknownBenchmark` for a record that belongs to none, `Metrics` for an incomplete pair.
    pub fn families(&self) -> Result<Vec<Family>, EngineError> {
        for (_, record) in &self.records {
            self.registry.get(&record.benchmark)?;
        }
        self.answered()
            .map(|(benchmark, answers)| family(benchmark, &answers, self.mode))
            .collect()
    }

    /// Paired differences to another model on the same questions and seeds, in percentage points, of every benchmark
    /// that can be compared so.
    ///
    /// # Errors
    /// `Metrics` if the two did not answer the same questions.
    pub fn differences(&self, control: &Self) -> Result<Vec<Family>, EngineError> {
        let theirs: BTreeMap<&str, Vec<Answered<'_>>> = control
            .answered()
            .map(|(benchmark, answers)| (benchmark.name(), answers))
            .collect();
        let mut compared = Vec::new();
        for (benchmark, answers) in self.answered() {
            let ours = benchmark.worth(&answers, self.mode)?;
            if ours.is_empty() {
                continue;
            }
            let theirs = theirs.get(benchmark.name()).map_or(&[][..], Vec::as_slice);
            let theirs = benchmark.worth(theirs, control.mode)?;
            let family = benchmark.family(&answers, self.mode)?;
            compared.push(difference(&family, &ours, &theirs)?);
        }
        Ok(compared)
    }

    /// Benchmarks that have answers.
    fn answered(&self) -> impl Iterator<Item = (&dyn Benchmark, Vec<Answered<'_>>)> {
        self.registry.iter().filter_map(|benchmark| {
            let records = self.records.iter();
            let own = records.filter(|(_, record)| record.benchmark == benchmark.name());
            let own: Vec<Answered> = own
                .map(|(seed, record)| Answered {
                    seed: *seed,
                    record,
                })
                .collect();
            (!own.is_empty()).then_some((benchmark.as_ref(), own))
        })
    }
}

/// The figures of one benchmark, and what they rest on.
fn family(
    benchmark: &dyn Benchmark,
    answers: &[Answered<'_>],
    mode: ParseMode,
) -> Result<Family, EngineError> {
    let mut counts = Counts {
        samples: answers.len(),
        ..Counts::default()
    };
    for Answered { record, .. } in answers {
        if record.error.is_some() {
            counts.unreadable += 1;
        } else if verdict(record, mode)? == Verdict::Unparseable {
            counts.unparseable += 1;
        }
    }
    Ok(Family {
        counts: Some(counts),
        ..benchmark.family(answers, mode)?
    })
}

fn difference(family: &Family, ours: &[Worth], theirs: &[Worth]) -> Result<Family, EngineError> {
    let plain =
        |worth: &[Worth]| -> Vec<Scored> { worth.iter().map(|w| w.scored.clone()).collect() };
    let (treatment, control) = (plain(ours), plain(theirs));
    let parts: BTreeMap<(&str, &str), &str> = ours
        .iter()
        .map(|w| {
            let scored = &w.scored;
            let question = (scored.stratum.as_str(), scored.question.as_str());
            (question, w.part.as_str())
        })
        .collect();
    let part = |scored: &Scored| {
        let question = (scored.stratum.as_str(), scored.question.as_str());
        (*parts.get(&question).unwrap_or(&"")).to_owned()
    };
    let total = paired_difference(&treatment, &control)?;
    let parts = paired_by_part(&treatment, &control, part)?;
    Ok(family.differences(&total, &parts))
}

#[cfg(test)]
mod tests {
    use deem_metrics::figures::{Unit, named};

    use super::*;
    use crate::evaluate::{AnswerForm, Likelihood, Mmvp};

    fn record(place: [&str; 2], id: &str, cluster: &str, truth: &str, answer: &str) -> Record {
        Record {
            id: id.into(),
            benchmark: place[0].into(),
            part: place[1].into(),
            cluster: cluster.into(),
            pattern: None,
            image: cluster.into(),
            image_sha256: None,
            prompt: String::new(),
            options: vec![],
            form: AnswerForm::YesNo,
            truth: vec![truth.into()],
            relevance: vec![],
            answer: answer.into(),
            parsed: None,
            score: 0.0,
            margin: 0.5,
            likelihood: None,
            rank: None,
            seconds: 0.0,
            error: None,
        }
    }

    /// One of a pair about orientation: truth by letter, answers in the options' words, and as an option's number.
    fn orientation(id: &str, truth: &str, answer: &str, chosen: usize) -> Record {
        Record {
            pattern: Some("orientation".into()),
            options: vec!["upright".into(), "upside down".into()],
            form: AnswerForm::Choice,
            likelihood: Some(Likelihood {
                log_probabilities: vec![-1.0, -1.0],
                chosen,
            }),
            ..record(["mmvp", "pairs"], id, "pair 1", truth, answer)
        }
    }

    fn records() -> Vec<Record> {
        let unreadable = Record {
            error: Some("cannot read 2.png".into()),
            ..record(["pope", "random"], "2", "2.png", "no", "")
        };
        let described = Record {
            form: AnswerForm::Text,
            ..record(["region", "captions"], "1", "1.png", "a red cat", "red cat")
        };
        vec![
            orientation("1", "(a)", "upright", 0),
            orientation("2", "(b)", "upside down", 0),
            record(["pope", "random"], "1", "1.png", "yes", "Yes."),
            unreadable,
            record(["robust_vqa", "A"], "1", "1.png", "yes", "yes"),
            record(["robust_vqa", "A"], "2", "1.png", "no", "perhaps"),
            described,
        ]
    }

    fn answers(records: Vec<Record>) -> Answers {
        let mut answers = Answers::new(&BenchmarkRegistry::standard(), ParseMode::Strict);
        answers.add(1, records);
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
        let families = answers(records).families().unwrap();
        let score = |family: &str, part: &str, figure: &str| {
            let family = named::find(&families, family).unwrap();
            family.figure(part, figure).unwrap().mean
        };
        assert_eq!(score("mmvp", "orientation", "pair_accuracy"), 100.0);
        assert_eq!(
            score("mmvp", "orientation", "pair_accuracy_likelihood"),
            0.0
        );
        assert_eq!(score("mmvp", "all", "question_accuracy_likelihood"), 50.0);
        assert_eq!(score("pope", "random", "accuracy"), 50.0);
        assert_eq!(score("robust_vqa", "mean", "accuracy"), 50.0);
        assert_eq!(score("robust_vqa", "mean", "ranking"), 50.0);
        assert_eq!(score("region", "all", "exact"), 100.0);
    }

    #[test]
    fn by_likelihood_alone_the_headline_says_so() {
        let registry = BenchmarkRegistry::default().with(Mmvp::by_likelihood());
        let mut answers = Answers::new(&registry, ParseMode::Strict);
        answers.add(1, records().into_iter().take(2));
        let families = answers.families().unwrap();
        let headline = families[0].headline().unwrap();
        assert_eq!(headline.name, "pair_accuracy_likelihood");
        assert_eq!(headline.mean, 0.0);
        assert_eq!(families[0].figure("all", "pair_accuracy"), None);
    }

    #[test]
    fn unreadable_pictures_and_unclear_answers_are_counted_apart() {
        let families = answers(records()).families().unwrap();
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
        let (treatment, control) = (answers(records()), answers(worse));
        let differences = treatment.differences(&control).unwrap();
        let names: Vec<&str> = differences.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["robust_vqa", "pope", "mmvp", "region"]);
        let lost = differences[2].figure("orientation", "pair_accuracy");
        let lost = lost.unwrap();
        assert_eq!((lost.mean, lost.unit), (100.0, Unit::Points));
        assert!(treatment.differences(&answers(vec![])).is_err());
    }

    #[test]
    fn truths_that_no_answer_can_equal_and_strangers_are_errors() {
        for bad in [
            orientation("1", "(c)", "upright", 0),
            record(["pope", "random"], "1", "1.png", "maybe", "yes"),
        ] {
            let error = answers(vec![bad]).families().unwrap_err().to_string();
            assert!(error.contains("right answer"), "{error}");
        }
        let stranger = record(["ships", "all"], "1", "1.png", "yes", "yes");
        let error = answers(vec![stranger]).families().unwrap_err().to_string();
        assert!(error.contains("\"ships\""), "{error}");
    }
}

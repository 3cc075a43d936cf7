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

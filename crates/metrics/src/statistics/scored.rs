//! The unit of all statistics: one scored answer, and what it depends on.

use std::collections::HashSet;

use crate::{MetricsError, Result};

/// The score of one question in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Seed of the run that answered.
    pub seed: u64,
    /// Part of the benchmark whose mean enters the total with equal weight (a POPE split, say); empty if there is one part.
    pub stratum: String,
    /// Image or pair: answers that share it are not independent. The same image has the same name in all seeds and strata.
    pub cluster: String,
    /// Identifies the question among those of its stratum, the same in all runs.
    pub question: String,
    /// The score, larger is better.
    pub value: f64,
}

impl Scored {
    /// A score of a benchmark that has one part only.
    pub fn new(
        seed: u64,
        cluster: impl Into<String>,
        question: impl Into<String>,
        value: f64,
    ) -> Self {
        Self {
            seed,
            stratum: String::new(),
            cluster: cluster.into(),
            question: question.into(),
            value,
        }
    }

    /// What identifies the question across runs.
    pub(crate) fn key(&self) -> (u64, &str, &str) {
        (self.seed, &self.stratum, &self.question)
    }
}

/// Checks that there is something to score, each question once per seed, all values finite and within `range`.
pub(crate) fn validate(
    what: &'static str,
    samples: &[Scored],
    range: (f64, f64),
    expected: &'static str,
) -> Result<()> {
    if samples.is_empty() {
        return Err(MetricsError::Empty { what });
    }
    let mut seen = HashSet::with_capacity(samples.len());
    for sample in samples {
        if !(sample.value.is_finite() && sample.value >= range.0 && sample.value <= range.1) {
            return Err(MetricsError::OutOfRange {
                what,
                found: sample.value,
                expected,
                question: sample.question.clone(),
            });
        }
        if !seen.insert(sample.key()) {
            return Err(MetricsError::Duplicate {
                question: sample.question.clone(),
                seed: sample.seed,
            });
        }
    }
    Ok(())
}

//! Comparing two runs on the same questions.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::clustered::estimate;
use super::scored::{Scored, validate};
use super::{Interval, mcnemar};
use crate::{MetricsError, Result};

/// Mean of `treatment − control` over the questions that both answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean difference with its 95 % interval, over questions and, with several seeds, over seeds.
    #[serde(flatten)]
    pub interval: Interval,
    /// Two-sided p-value that belongs to the interval; absent where there is no spread to judge by.
    pub p_value: Option<f64>,
    /// Questions, counted once for each seed.
    pub questions: usize,
    /// Independent images (or pairs).
    pub clusters: usize,
    /// Seeds.
    pub seeds: usize,
    /// Questions that the treatment scored higher.
    pub wins: usize,
    /// Questions that the control scored higher.
    pub losses: usize,
    /// The smallest true difference that these questions show in four of five cases (power 0.8, two-sided 5 %); absent
    /// where there is no spread to judge by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// Exact p-value of McNemar's test, where every answer is right or wrong; see [`mcnemar`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<f64>,
}

impl Difference {
    /// Differences of fractions as percentage points.
    #[must_use]
    pub fn percent(self) -> Self {
        Self {
            interval: self.interval.percent(),
            detectable: self.detectable.map(|d| 100.0 * d),
            ..self
        }
    }
}

/// Paired difference of two runs, question by question, clustered as in [`super::clustered`].
///
/// Both sides must hold the same questions of the same seeds, in any order.
///
/// # Errors
/// `Unpaired` if a question is answered by one side only; `Empty`, `Duplicate` or `OutOfRange` (not finite) as for a mean.
pub fn paired_difference(treatment: &[Scored], control: &[Scored]) -> Result<Difference> {
    const RANGE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
    validate("treatment", treatment, RANGE, "the finite numbers")?;
    validate("control", control, RANGE, "the finite numbers")?;

    let by_key: HashMap<_, &Scored> = control.iter().map(|s| (s.key(), s)).collect();
    let treated: HashSet<_> = treatment.iter().map(Scored::key).collect();
    let mut lonely = treatment
        .iter()
        .filter(|s| !by_key.contains_key(&s.key()))
        .chain(control.iter().filter(|s| !treated.contains(&s.key())));
    if let Some(first) = lonely.next() {
        return Err(MetricsError::Unpaired {
            question: first.question.clone(),
            seed: first.seed,
            missing: 1 + lonely.count(),
        });
    }

    let differences: Vec<Scored> = treatment
        .iter()
        .map(|s| Scored {
            value: s.value - by_key[&s.key()].value,
            ..s.clone()
        })
        .collect();
    let result = estimate(&differences);
    let wins = differences.iter().filter(|d| d.value > 0.0).count();
    let losses = differences.iter().filter(|d| d.value < 0.0).count();
    let right_or_wrong = |s: &Scored| s.value == 0.0 || s.value == 1.0;
    let binary = treatment.iter().chain(control).all(right_or_wrong);
    Ok(Difference {
        interval: result.interval(),
        p_value: result.p_value(),
        questions: differences.len(),
        clusters: result.clusters,
        seeds: result.seeds,
        wins,
        losses,
        detectable: result.detectable(),
        mcnemar: binary.then(|| mcnemar(wins, losses)),
    })
}

/// The same for each part of a benchmark (a split, a pattern), by the name that `part` gives a question.
///
/// # Errors
/// As [`paired_difference`], for any part.
pub fn paired_by_part(
    treatment: &[Scored],
    control: &[Scored],
    part: impl Fn(&Scored) -> String,
) -> Result<BTreeMap<String, Difference>> {
    let mut parts: BTreeMap<String, [Vec<Scored>; 2]> = BTreeMap::new();
    for (side, samples) in [treatment, control].into_iter().enumerate() {
        for sample in samples {
            parts.entry(part(sample)).or_default()[side].push(sample.clone());
        }
    }
    let compare = |(name, [treatment, control]): (String, [Vec<Scored>; 2])| {
        Ok((name, paired_difference(&treatment, &control)?))
    };
    parts.into_iter().map(compare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f64]) -> Vec<Scored> {
        values
            .iter()
            .enumerate()
            .map(|(i, &v)| Scored::new(1, format!("image {i}"), i.to_string(), v))
            .collect()
    }

    #[test]
    fn differences_are_taken_question_by_question() {
        // Differences 1, 0, 1, 0: mean 0.5, standard error sqrt(1/3 / 4), t(3) = 3.182446, p = 0.1817
        let mut control = run(&[0.0, 1.0, 0.0, 0.0]);
        control.reverse();
        let difference = paired_difference(&run(&[1.0, 1.0, 1.0, 0.0]), &control).unwrap();
        let half = 3.182_446_305_284_263 / 12f64.sqrt();
        assert!((difference.interval.mean - 0.5).abs() < 1e-12);
        assert!(
            (difference.interval.high - 0.5 - half).abs() < 1e-6,
            "{difference:?}"
        );
        assert_eq!(
            (difference.wins, difference.losses, difference.questions),
            (2, 0, 4)
        );
        let p = difference.p_value.unwrap();
        assert!((p - 0.181_690).abs() < 1e-5, "{p}");
        assert!(!difference.interval.excludes_zero());
        // t(3) at 0.8 is 0.978472.
        let detectable = (3.182_446_305_284_263 + 0.978_472_312_363_30) / 12f64.sqrt();
        assert!((difference.detectable.unwrap() - detectable).abs() < 1e-6);
        assert!((difference.mcnemar.unwrap() - 0.5).abs() < 1e-12);
        let json = serde_json::to_string(&difference.percent()).unwrap();
        assert!(json.starts_with(r#"{"mean":50.0,"low":-"#), "{json}");
        assert_eq!(
            serde_json::from_str::<Difference>(&json)
                .unwrap()
                .interval
                .mean,
            50.0
        );
    }

    #[test]
    fn what_is_common_to_both_runs_does_not_count() {
        // Large spread between questions, constant gain: the paired interval has no width.
        let control = run(&[0.0, 5.0, 100.0]);
        let treatment = run(&[1.0, 6.0, 101.0]);
        let difference = paired_difference(&treatment, &control).unwrap();
        assert!(
            (difference.interval.low - 1.0).abs() < 1e-9 && difference.interval.excludes_zero()
        );
        assert_eq!((difference.p_value, difference.detectable), (None, None));
        assert_eq!(difference.mcnemar, None); // not right or wrong
    }

    #[test]
    fn missing_answers_are_an_error_not_a_smaller_sample() {
        let error = paired_difference(&run(&[1.0, 1.0, 1.0]), &run(&[1.0])).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Unpaired {
                question: "1".into(),
                seed: 1,
                missing: 2
            }
        );
        let error = paired_difference(&run(&[1.0]), &run(&[1.0, 1.0])).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Unpaired {
                question: "1".into(),
                seed: 1,
                missing: 1
            }
        );
    }

    #[test]
    fn parts_are_compared_one_by_one() {
        let parity = |s: &Scored| (s.question.parse::<usize>().unwrap() % 2).to_string();
        let parts = paired_by_part(&run(&[1.0, 0.0, 1.0, 0.0]), &run(&[0.0; 4]), parity).unwrap();
        assert_eq!(
            (parts["0"].interval.mean, parts["1"].interval.mean),
            (1.0, 0.0)
        );
        assert_eq!(parts["0"].questions, 2);
    }
}

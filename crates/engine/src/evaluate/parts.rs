//! Parts that many benchmarks have: the whole, then one for each pattern of their questions.

use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Figure, Part};
use deem_metrics::statistics::Scored;

use super::{Answered, Worth};
use crate::EngineError;

/// Name of the part that stands for the whole.
const ALL: &str = "all";

/// What each answer is worth.
pub(super) fn scored(
    answers: &[Answered<'_>],
    mode: ParseMode,
) -> Result<Vec<Scored>, EngineError> {
    answers.iter().map(|a| a.scored("", mode)).collect()
}

/// The whole and each pattern, in order of their names; a single pattern says nothing more.
pub(super) fn by_pattern<F>(answers: &[Answered<'_>], figures: F) -> Result<Vec<Part>, EngineError>
where
    F: Fn(&[Answered<'_>]) -> Result<Vec<Figure>, EngineError>,
{
    by(answers, figures, |answered| {
        answered.record.pattern.as_deref()
    })
}

/// The whole and each part of the benchmark (a split).
pub(super) fn by_part<F>(answers: &[Answered<'_>], figures: F) -> Result<Vec<Part>, EngineError>
where
    F: Fn(&[Answered<'_>]) -> Result<Vec<Figure>, EngineError>,
{
    by(answers, figures, |answered| {
        Some(answered.record.part.as_str())
    })
}

fn by<'a, F>(
    answers: &[Answered<'a>],
    figures: F,
    group: impl Fn(&Answered<'a>) -> Option<&'a str>,
) -> Result<Vec<Part>, EngineError>
where
    F: Fn(&[Answered<'_>]) -> Result<Vec<Figure>, EngineError>,
{
    let mut parts = vec![Part::new(ALL, figures(answers)?)];
    let mut names: Vec<&str> = answers.iter().filter_map(&group).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        for name in names {
            let own: Vec<Answered<'_>> = answers
                .iter()
                .filter(|answered| group(answered) == Some(name))
                .copied()
                .collect();
            parts.push(Part::new(name, figures(&own)?));
        }
    }
    Ok(parts)
}

/// What each question is worth, by pattern; questions weigh the same.
pub(super) fn worth_by_pattern(
    answers: &[Answered<'_>],
    mode: ParseMode,
) -> Result<Vec<Worth>, EngineError> {
    let worth = |answered: &Answered<'_>| {
        Ok(Worth {
            scored: answered.scored("", mode)?,
            part: answered.record.pattern.clone().unwrap_or_default(),
        })
    };
    answers.iter().map(worth).collect()
}

//! Paired differences between arms.

use deem_metrics::figures::{Family, Unit};
use serde::Serialize;

use super::Section;
use super::interval_chart::{IntervalChart, Mark, Row};
use crate::Results;
use crate::results::Comparison;
use crate::text::{grouped, number, range, signed};

/// Look of a difference whose interval excludes zero: the ink of the page.
const CLEAR: usize = 6;
/// Look of one that does not: its faint form.
const OPEN: usize = 7;

/// One pair of arms.
#[derive(Debug, Serialize)]
struct Pair {
    treatment: String,
    control: String,
    chart: IntervalChart,
    basis: Vec<Basis>,
}

/// What the difference of a benchmark rests on.
#[derive(Debug, Serialize)]
struct Basis {
    title: String,
    questions: String,
    clusters: String,
    seeds: usize,
    wins: String,
    losses: String,
    p_value: Option<String>,
}

/// A chart for each pair of arms.
pub(super) fn section(results: &Results) -> Option<Section> {
    let pairs: Vec<Pair> = results.difference.iter().filter_map(pair).collect();
    (!pairs.is_empty()).then(|| {
        Section::new(
            "differences",
            "Differences",
            "Differences, question by question",
            "Both arms answer the same questions with the same seeds, so each question is its own control. To the right of \
             zero the first arm is better; an interval that crosses zero leaves the question open.",
            pairs,
        )
    })
}

fn pair(comparison: &Comparison) -> Option<Pair> {
    // One axis, one unit: differences in other units stand in the table of results.
    let rows = comparison.families.iter().flat_map(rows).collect();
    Some(Pair {
        treatment: comparison.treatment.clone(),
        control: comparison.control.clone(),
        chart: IntervalChart::new(rows, Unit::Points, signed)?,
        basis: comparison.families.iter().filter_map(basis).collect(),
    })
}

fn rows(family: &Family) -> Vec<Row<'_>> {
    let parts = family.parts.iter().enumerate();
    let rows = parts.filter_map(|(at, part)| {
        let figure = part.figures.first()?;
        (figure.unit == Unit::Points).then(|| Row {
            label: if at == 0 { &family.title } else { &part.name }.clone(),
            detail: if at == 0 {
                figure.label()
            } else {
                String::new()
            },
            minor: at > 0,
            value: Some((signed(figure.mean, figure.unit), range(figure, signed))),
            reference: Some(0.0),
            marks: vec![Mark {
                class: if figure.excludes_zero() { CLEAR } else { OPEN },
                name: if at == 0 { &family.title } else { &part.name },
                figure,
            }],
        })
    });
    rows.collect()
}

fn basis(family: &Family) -> Option<Basis> {
    let paired = family.headline()?.paired?;
    let count = |n: usize| grouped(n as u64);
    Some(Basis {
        title: family.title.clone(),
        questions: count(paired.questions),
        clusters: count(paired.clusters),
        seeds: paired.seeds,
        wins: count(paired.wins),
        losses: count(paired.losses),
        p_value: paired.p_value.map(|p| match p {
            p if p < 0.001 => "< 0.001".to_owned(),
            p => number(p, 3),
        }),
    })
}

//! Paired differences between arms.

use deem_metrics::statistics::Difference;

use super::section;
use crate::report::chart::{Mark, Row, Scale, interval_chart};
use crate::report::html::{escape, grouped, range, signed};
use crate::report::input::ReportInput;
use crate::report::results::{BenchmarkDifference, Bounds};

/// A chart for each pair of arms.
pub(in super::super) fn differences(input: &ReportInput) -> String {
    let charts: String = (input.results.difference.iter())
        .map(|(name, difference)| {
            let benchmarks = [
                ("MMVP", &difference.mmvp),
                ("POPE", &difference.pope),
                ("RobustVQA", &difference.robust_vqa),
            ];
            let rows: Vec<Row> = benchmarks
                .iter()
                .flat_map(|(label, d)| rows(label, d))
                .collect();
            let extent = rows.iter().flat_map(|row| &row.marks);
            let extent = extent.flat_map(|m| {
                [Some(m.mean), m.low, m.high, Some(0.0)]
                    .into_iter()
                    .flatten()
            });
            let chart = interval_chart(&rows, &Scale::around(extent, 5), Some(0.0), " points");
            let heading = escape(&name.replacen(" - ", " \u{2212} ", 1));
            format!(
                "<div class=\"panel\"><h3>{heading}</h3>{chart}{}</div>",
                basis(&difference.mmvp.total)
            )
        })
        .collect();
    section(
        "differences",
        "Differences, question by question",
        "Both arms answer the same questions with the same seeds, so each question is its own control. To the right of zero the first arm is better; an interval that crosses zero leaves the question open.",
        &charts,
    )
}

fn rows(label: &str, difference: &BenchmarkDifference) -> Vec<Row> {
    let parts = difference.parts.iter().map(|(name, d)| row(name, d, true));
    std::iter::once(row(label, &difference.total, false))
        .chain(parts)
        .collect()
}

fn row(label: &str, difference: &Difference, minor: bool) -> Row {
    let interval = difference.interval;
    let Bounds { low, high } = interval.into();
    let range = range(low, high, signed);
    let title = format!("{label}: {} points {range}", signed(interval.mean));
    // Class 6 is the ink of the page, 7 its faint form.
    let class = if interval.excludes_zero() { 6 } else { 7 };
    let mark = Mark {
        class,
        mean: interval.mean,
        low,
        high,
        singles: Vec::new(),
        title,
    };
    let value = format!("{}<small>{range}</small>", signed(interval.mean));
    Row {
        label: label.to_owned(),
        value,
        marks: vec![mark],
        minor,
    }
}

/// What the figures rest on.
fn basis(d: &Difference) -> String {
    let p = d.p_value.map_or(String::new(), |p| {
        if p < 0.001 {
            ", p < 0.001".to_owned()
        } else {
            format!(", p = {p:.3}")
        }
    });
    format!(
        "<p class=\"note\">MMVP: {} pairs in {} independent groups and {} {}; the first arm alone is right in {}, the second alone in {}{p}.</p>",
        grouped(d.questions as u64),
        grouped(d.clusters as u64),
        d.seeds,
        if d.seeds == 1 { "seed" } else { "seeds" },
        grouped(d.wins as u64),
        grouped(d.losses as u64),
    )
}

//! The results as a table for the terminal.

use deem_metrics::figures::{Family, Figure, Unit};
use deem_report::{ArmResults, Results, value};

/// Between two columns.
const GAP: &str = "  ";

/// Figures of each arm, differences with their intervals, controls and costs.
pub fn table(results: &Results) -> String {
    let arms = &results.arms;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let names = arms.iter().map(|arm| arm.name.clone());
    let compared = results.difference.iter();
    let compared = compared.map(|d| format!("{} − {}", d.treatment, d.control));
    lines.push(
        [String::new()]
            .into_iter()
            .chain(names)
            .chain(compared)
            .collect(),
    );
    for row in results.rows() {
        let label = match (row.minor, row.detail.is_empty()) {
            (true, _) => format!("{GAP}{}", row.label),
            (false, true) => row.label.clone(),
            (false, false) => format!("{}, {}", row.label, row.detail),
        };
        let figure = |families: &[Family], write: fn(&Figure) -> String| {
            row.find(families).map_or("–".to_owned(), write)
        };
        let scores = arms.iter().map(|arm| figure(&arm.families, plain));
        let compared = results.difference.iter();
        let compared = compared.map(|d| figure(&d.families, difference));
        lines.push([label].into_iter().chain(scores).chain(compared).collect());
    }
    let mut text = aligned(&lines);
    text.push('\n');
    for arm in arms {
        text.push_str(&beside(arm));
    }
    text
}

/// Controls and costs of an arm, in a line.
fn beside(arm: &ArmResults) -> String {
    let controls = arm.controls.iter().flat_map(|family| {
        let parts = family.parts.iter();
        parts.flat_map(move |part| {
            let figures = part.figures.iter();
            figures.map(move |f| format!("{}, {} {}", family.title, part.name, plain(f)))
        })
    });
    let costs = arm.costs.iter();
    let costs = costs.map(|figure| format!("{} {}", figure.label(), plain(figure)));
    let all: Vec<String> = costs.chain(controls).collect();
    format!("{}: {}\n", arm.name, all.join(" · "))
}

fn plain(figure: &Figure) -> String {
    value(figure.mean, figure.unit)
}

/// A difference with its interval, all with their signs.
pub fn difference(figure: &Figure) -> String {
    let signed = |value: f64| match figure.unit {
        Unit::Ratio => format!("{value:+.3}"),
        _ => format!("{value:+.1}"),
    };
    let bound = |bound: Option<f64>| bound.map_or("–".to_owned(), signed);
    let (low, high) = (bound(figure.low), bound(figure.high));
    format!("{} [{low}, {high}]", signed(figure.mean))
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let cells: Vec<String> = cells.collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_metrics::figures::Part;
    use deem_metrics::statistics::Interval;
    use deem_report::Comparison;

    /// Two arms, one of which has a benchmark that the other lacks.
    #[test]
    fn every_benchmark_has_its_rows() {
        let family = |name: &str, parts: &[(&str, f64)]| Family {
            parts: parts
                .iter()
                .map(|(part, mean)| {
                    Part::new(*part, [Figure::plain("accuracy", *mean, Unit::Percent)])
                })
                .collect(),
            ..Family::new(name, name.to_uppercase())
        };
        let arm = |name: &str, families| ArmResults {
            name: name.into(),
            families,
            costs: vec![Figure::plain("seconds_per_step", 0.5, Unit::Seconds)],
            ..ArmResults::default()
        };
        let interval = Interval {
            mean: 12.25,
            low: -1.0,
            high: f64::INFINITY,
        };
        let differences = Family {
            parts: vec![Part::new(
                "all",
                [Figure::new("accuracy", interval, Unit::Points)],
            )],
            ..Family::new("new", "NEW")
        };
        let text = table(&Results {
            version: "1".into(),
            commit: "unknown".into(),
            seeds: vec![1],
            steps: 10,
            arms: vec![
                arm("a", vec![family("new", &[("all", 50.0), ("dark", 40.0)])]),
                arm(
                    "b",
                    vec![
                        family("new", &[("all", 37.75)]),
                        family("other", &[("all", 1.0)]),
                    ],
                ),
            ],
            difference: vec![Comparison::new("a", "b", vec![differences])],
        });
        let expected = [
            "                    a     b            a − b",
            "NEW, accuracy    50.0  37.8  +12.2 [-1.0, –]",
            "  dark           40.0     –                –",
            "OTHER, accuracy     –   1.0                –",
            "",
            "a: seconds per step 0.50",
            "b: seconds per step 0.50",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }
}

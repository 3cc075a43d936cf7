//! What each arm scores: chart and table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{arms, main_difference, section};
use crate::report::chart::{Mark, Row, Scale, arm_class, interval_chart, legend};
use crate::report::html::{escape, number, range, signed};
use crate::report::input::ReportInput;
use crate::report::results::{ArmResults, BenchmarkDifference, Bounds, Results};

/// One figure of the table.
struct Figure {
    label: &'static str,
    /// Key of the interval, and of the part in differences.
    key: &'static str,
    minor: bool,
    value: fn(&ArmResults) -> Option<f64>,
    intervals: fn(&ArmResults) -> Option<&BTreeMap<String, Bounds>>,
    seed: fn(&ArmResults) -> Vec<f64>,
    difference: fn(&Results) -> Option<&BenchmarkDifference>,
}

fn robust(results: &Results) -> Option<&BenchmarkDifference> {
    Some(&main_difference(results)?.1.robust_vqa)
}

fn pope(results: &Results) -> Option<&BenchmarkDifference> {
    Some(&main_difference(results)?.1.pope)
}

fn mmvp(results: &Results) -> Option<&BenchmarkDifference> {
    Some(&main_difference(results)?.1.mmvp)
}

fn none(_: &ArmResults) -> Vec<f64> {
    Vec::new()
}

/// Accuracies, in the order of the page.
const FIGURES: [Figure; 9] = [
    Figure {
        label: "MMVP, pairs",
        key: "pair_accuracy",
        minor: false,
        value: |a| Some(a.mmvp.pair_accuracy),
        intervals: |a| Some(&a.mmvp.intervals),
        seed: |a| a.per_seed.values().map(|s| s.mmvp).collect(),
        difference: mmvp,
    },
    Figure {
        label: "POPE, mean",
        key: "mean",
        minor: false,
        value: |a| Some(a.pope.mean),
        intervals: |a| Some(&a.pope.intervals),
        seed: |a| a.per_seed.values().map(|s| s.pope).collect(),
        difference: pope,
    },
    Figure {
        label: "random",
        key: "random",
        minor: true,
        value: |a| a.pope.random,
        intervals: |a| Some(&a.pope.intervals),
        seed: none,
        difference: pope,
    },
    Figure {
        label: "popular",
        key: "popular",
        minor: true,
        value: |a| a.pope.popular,
        intervals: |a| Some(&a.pope.intervals),
        seed: none,
        difference: pope,
    },
    Figure {
        label: "adversarial",
        key: "adversarial",
        minor: true,
        value: |a| a.pope.adversarial,
        intervals: |a| Some(&a.pope.intervals),
        seed: none,
        difference: pope,
    },
    Figure {
        label: "RobustVQA, mean",
        key: "mean",
        minor: false,
        value: |a| Some(a.robust_vqa.mean),
        intervals: |a| Some(&a.robust_vqa.intervals),
        seed: |a| a.per_seed.values().map(|s| s.robust_vqa).collect(),
        difference: robust,
    },
    Figure {
        label: "A, hard images",
        key: "A",
        minor: true,
        value: |a| a.robust_vqa.a,
        intervals: |a| Some(&a.robust_vqa.intervals),
        seed: none,
        difference: robust,
    },
    Figure {
        label: "R, unseen styles",
        key: "R",
        minor: true,
        value: |a| a.robust_vqa.r,
        intervals: |a| Some(&a.robust_vqa.intervals),
        seed: none,
        difference: robust,
    },
    Figure {
        label: "V, a fresh draw",
        key: "V",
        minor: true,
        value: |a| a.robust_vqa.v,
        intervals: |a| Some(&a.robust_vqa.intervals),
        seed: none,
        difference: robust,
    },
];

/// Region descriptions: other units, so in the table only.
const REGIONS: [Figure; 2] = [
    Figure {
        label: "Regions, exact",
        key: "exact",
        minor: false,
        value: |a| Some(a.region.as_ref()?.exact),
        intervals: |a| Some(&a.region.as_ref()?.intervals),
        seed: none,
        difference: |_| None,
    },
    Figure {
        label: "Regions, CIDEr",
        key: "cider",
        minor: false,
        value: |a| Some(a.region.as_ref()?.cider),
        intervals: |a| Some(&a.region.as_ref()?.intervals),
        seed: none,
        difference: |_| None,
    },
];

impl Figure {
    fn bounds(&self, arm: &ArmResults) -> Bounds {
        let found = (self.intervals)(arm).and_then(|intervals| intervals.get(self.key));
        found.copied().unwrap_or(Bounds {
            low: None,
            high: None,
        })
    }

    fn mark(&self, arm: &str, arms: &[&str], results: &ArmResults) -> Option<Mark> {
        let mean = (self.value)(results)?;
        let Bounds { low, high } = self.bounds(results);
        let title = format!("{arm}: {} % {}", number(mean), range(low, high, number));
        Some(Mark {
            class: arm_class(arm, arms),
            mean,
            low,
            high,
            singles: (self.seed)(results),
            title,
        })
    }
}

/// Chart and table of all accuracies.
pub(in super::super) fn accuracy(input: &ReportInput) -> String {
    let results = &input.results;
    let arms = arms(results);
    if arms.is_empty() {
        return String::new();
    }
    let rows: Vec<Row> = FIGURES
        .iter()
        .map(|figure| Row {
            label: figure.label.to_owned(),
            value: String::new(),
            marks: results
                .arms
                .iter()
                .filter_map(|(arm, r)| figure.mark(arm, &arms, r))
                .collect(),
            minor: figure.minor,
        })
        .filter(|row| !row.marks.is_empty())
        .collect();
    let scale = Scale::around(extent(&rows), 5);
    let chart = format!(
        "<div class=\"panel\">{}{}</div>",
        legend(&arms),
        interval_chart(&rows, &scale, None, " %")
    );
    let over = if results.seeds.len() > 1 {
        "questions and seeds; faint dots are single seeds"
    } else {
        "questions (of one seed: how much runs differ stays unknown)"
    };
    section(
        "results",
        "What each arm scores",
        &format!(
            "Accuracy in percent, with 95 % intervals over {over}. Blind guessing gets 50 % of yes/no questions and 25 % of pairs."
        ),
        &(chart + &table(results, &arms)),
    )
}

fn extent(rows: &[Row]) -> impl Iterator<Item = f64> {
    rows.iter().flat_map(|row| &row.marks).flat_map(|m| {
        m.singles
            .iter()
            .copied()
            .chain([Some(m.mean), m.low, m.high].into_iter().flatten())
    })
}

fn table(results: &Results, arms: &[&str]) -> String {
    let difference =
        main_difference(results).map(|(name, _)| name.replacen(" - ", " \u{2212} ", 1));
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr><th scope=\"col\"></th>");
    for arm in arms {
        let _ = write!(
            html,
            "<th scope=\"col\" class=\"arm-{}\">{}</th>",
            arm_class(arm, arms),
            escape(arm)
        );
    }
    if let Some(name) = &difference {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    for figure in FIGURES.iter().chain(&REGIONS) {
        if results
            .arms
            .values()
            .all(|arm| (figure.value)(arm).is_none())
        {
            continue;
        }
        let class = if figure.minor { " class=\"minor\"" } else { "" };
        let _ = write!(html, "<tr{class}><th scope=\"row\">{}</th>", figure.label);
        for arm in results.arms.values() {
            let cell = (figure.value)(arm).map_or("\u{2013}".to_owned(), |value| {
                let Bounds { low, high } = figure.bounds(arm);
                with_range(number(value), &range(low, high, number))
            });
            let _ = write!(html, "<td>{cell}</td>");
        }
        if difference.is_some() {
            let _ = write!(html, "<td>{}</td>", difference_cell(figure, results));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn with_range(value: String, range: &str) -> String {
    format!("{value}<small>{range}</small>")
}

fn difference_cell(figure: &Figure, results: &Results) -> String {
    let found = (figure.difference)(results);
    let found = found.and_then(|d| {
        if figure.minor {
            d.parts.get(figure.key)
        } else {
            Some(&d.total)
        }
    });
    found.map_or("\u{2013}".to_owned(), |d| {
        let Bounds { low, high } = d.interval.into();
        let text = with_range(signed(d.interval.mean), &range(low, high, signed));
        if d.interval.excludes_zero() {
            format!("<b>{text}</b>")
        } else {
            text
        }
    })
}

/// MMVP by visual pattern.
pub(in super::super) fn patterns(input: &ReportInput) -> String {
    let results = &input.results;
    let arms = arms(results);
    let names: BTreeSet<&str> = results
        .arms
        .values()
        .flat_map(|arm| arm.mmvp.patterns.keys())
        .map(String::as_str)
        .collect();
    let parts = main_difference(results).map(|(_, d)| &d.mmvp.parts);
    let mut rows: Vec<Row> = names
        .into_iter()
        .map(|name| {
            let marks = results.arms.iter().filter_map(|(arm, r)| {
                let mean = *r.mmvp.patterns.get(name)?;
                let Bounds { low, high } = r.mmvp.intervals.get(name).copied().unwrap_or(Bounds {
                    low: None,
                    high: None,
                });
                let title = format!("{arm}: {} % {}", number(mean), range(low, high, number));
                Some(Mark {
                    class: arm_class(arm, &arms),
                    mean,
                    low,
                    high,
                    singles: Vec::new(),
                    title,
                })
            });
            let value = parts
                .and_then(|parts| parts.get(name))
                .map_or(String::new(), |d| signed(d.interval.mean));
            Row {
                label: name.to_owned(),
                value,
                marks: marks.collect(),
                minor: false,
            }
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    // The pattern that gained most first.
    let gain = |row: &Row| {
        row.marks.first().map_or(0.0, |m| m.mean) - row.marks.get(1).map_or(0.0, |m| m.mean)
    };
    rows.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    let scale = Scale::around(extent(&rows).chain([0.0]), 5);
    let chart = format!(
        "<div class=\"panel\">{}{}</div>",
        legend(&arms),
        interval_chart(&rows, &scale, Some(25.0), " %")
    );
    section(
        "patterns",
        "Which details are seen",
        "MMVP pairs answered correctly, by what the two images of a pair differ in. The dashed line is guessing (25 %).",
        &chart,
    )
}

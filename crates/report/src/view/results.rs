//! What each arm scores: charts and tables of all families, controls and costs.

use deem_metrics::figures::{Counts, Family, Figure, Unit, named};
use serde::Serialize;

use super::interval_chart::{IntervalChart, Mark, Row};
use super::table::{Cell, Line, Table};
use super::{Arm, Section, arms};
use crate::results::merged;
use crate::text::{grouped, signed, value};
use crate::{ArmResults, Results};

/// A family with more parts than this has a chart of its own.
const FEW_PARTS: usize = 4;

/// Chart and table of all accuracies.
pub(super) fn section(results: &Results) -> Option<Section> {
    #[derive(Serialize)]
    struct Content {
        arms: Vec<Arm>,
        chart: Option<IntervalChart>,
        table: Table,
        all: Table,
    }

    if results.arms.is_empty() {
        return None;
    }
    let arms = arms(results);
    let families = families(results);
    let rows = families.iter().flat_map(|family| {
        let parts = if many(family) { 1 } else { family.parts.len() };
        rows(family, 0..parts, results, &arms)
    });
    let over = match results.seeds.len() {
        0 | 1 => "questions (of one seed: how much runs differ stays unknown)",
        _ => "questions and seeds; faint dots are single seeds",
    };
    Some(Section::new(
        "results",
        "Results",
        "What each arm scores",
        format!(
            "In percent unless a row says otherwise, with 95 % intervals over {over}. Dashed lines are blind guessing."
        ),
        Content {
            chart: IntervalChart::new(rows.collect(), Unit::Percent, value),
            table: main_table(results, &arms),
            all: full_table(results, &families, &arms),
            arms,
        },
    ))
}

/// A chart for each family that has many parts, the part that gained most first.
pub(super) fn details(results: &Results) -> Option<Section> {
    #[derive(Serialize)]
    struct Detail {
        title: String,
        about: Option<String>,
        arms: Vec<Arm>,
        chart: IntervalChart,
    }

    let arms = arms(results);
    let difference = results.difference.first();
    let charts = families(results)
        .into_iter()
        .filter(many)
        .filter_map(|mut family| {
            let compared = difference.and_then(|d| named::find(&d.families, &family.name));
            let gain =
                |part: &str| Some(named::find(&compared?.parts, part)?.figures.first()?.mean);
            family.parts[1..].sort_by(|a, b| {
                let [a, b] = [a, b].map(|part| gain(&part.name).unwrap_or(f64::NEG_INFINITY));
                b.total_cmp(&a)
            });
            let mut rows = rows(&family, 1..family.parts.len(), results, &arms);
            for row in &mut rows {
                row.minor = false;
                row.value = gain(&row.label).map(|gain| (signed(gain, Unit::Points), None));
            }
            Some(Detail {
                chart: IntervalChart::new(rows, Unit::Percent, value)?,
                title: family.title,
                about: family.about,
                arms: arms.clone(),
            })
        });
    let charts: Vec<Detail> = charts.collect();
    let beside = difference.map_or(String::new(), |d| {
        format!(
            " Beside each row: {} \u{2212} {}, in points.",
            d.treatment, d.control
        )
    });
    (!charts.is_empty()).then(|| {
        Section::new(
            "details",
            "Details",
            "Part by part",
            format!("Benchmarks of many parts. Dashed lines are blind guessing.{beside}"),
            charts,
        )
    })
}

/// Controls and costs of each arm.
pub(super) fn controls(results: &Results) -> Option<Section> {
    #[derive(Serialize)]
    struct Content {
        table: Table,
        notes: Vec<(String, String)>,
    }

    if results.arms.is_empty() {
        return None;
    }
    let families = merged(results.arms.iter().map(|arm| &arm.controls[..]));
    let mut rows: Vec<Line> = Vec::new();
    for family in &families {
        for part in &family.parts {
            rows.extend(part.figures.iter().map(|figure| {
                let of = |arm: &ArmResults| {
                    let found = named::find(&arm.controls, &family.name)?;
                    found
                        .figure(&part.name, &figure.name)
                        .map(|figure| match figure.unit {
                            Unit::Points => Cell::difference(figure),
                            _ => Cell::figure(figure),
                        })
                };
                Line {
                    label: family.title.clone(),
                    detail: part.name.clone(),
                    minor: false,
                    cells: results.arms.iter().map(of).collect(),
                }
            }));
        }
    }
    rows.extend(counts(results));
    let mut costs: Vec<&Figure> = Vec::new();
    for cost in results.arms.iter().flat_map(|arm| &arm.costs) {
        if !costs.iter().any(|known| known.name == cost.name) {
            costs.push(cost);
        }
    }
    rows.extend(costs.into_iter().map(|cost| {
        Line {
            label: cost.label(),
            detail: String::new(),
            minor: false,
            cells: (results.arms.iter())
                .map(|arm| named::find(&arm.costs, &cost.name).map(Cell::figure))
                .collect(),
        }
    }));
    let notes = families.into_iter();
    let notes = notes.filter_map(|family| Some((family.title, family.about?)));
    Some(Section::new(
        "controls",
        "Controls",
        "Controls and cost",
        "What must hold if the figures above are to mean anything, and what each arm costs. In percent unless a row says otherwise.",
        Content {
            notes: notes.collect(),
            table: Table {
                arms: arms(results),
                difference: None,
                rows,
            },
        },
    ))
}

fn families(results: &Results) -> Vec<Family> {
    merged(results.arms.iter().map(|arm| &arm.families[..]))
}

fn many(family: &Family) -> bool {
    family.parts.len() > FEW_PARTS + 1
}

/// Rows of a chart in percent: what each of the parts is known by.
fn rows<'a>(
    family: &Family,
    parts: std::ops::Range<usize>,
    results: &'a Results,
    arms: &'a [Arm],
) -> Vec<Row<'a>> {
    let rows = parts.filter_map(|at| {
        let part = &family.parts[at];
        let figure = part.figures.first()?;
        let marks = results.arms.iter().zip(arms).filter_map(|(found, arm)| {
            let family = named::find(&found.families, &family.name)?;
            Some(Mark {
                class: arm.class,
                name: &arm.name,
                figure: family.figure(&part.name, &figure.name)?,
            })
        });
        (figure.unit == Unit::Percent).then(|| Row {
            label: if at == 0 { &family.title } else { &part.name }.clone(),
            detail: if at == 0 {
                figure.label()
            } else {
                String::new()
            },
            minor: at > 0,
            value: None,
            reference: figure.chance,
            marks: marks.collect(),
        })
    });
    rows.collect()
}

/// The figures that matter, with the main difference beside them.
fn main_table(results: &Results, arms: &[Arm]) -> Table {
    let difference = results.difference.first();
    let rows = results.rows().into_iter().map(|row| {
        let arms = results.arms.iter();
        let mut cells: Vec<Option<Cell>> = arms
            .map(|arm| row.find(&arm.families).map(Cell::figure))
            .collect();
        if let Some(difference) = difference {
            cells.push(row.find(&difference.families).map(Cell::difference));
        }
        Line {
            label: row.label,
            detail: row.detail,
            minor: row.minor,
            cells,
        }
    });
    Table {
        arms: arms.to_vec(),
        difference: difference.map(|d| (d.treatment.clone(), d.control.clone())),
        rows: rows.collect(),
    }
}

/// Every figure of every part.
fn full_table(results: &Results, families: &[Family], arms: &[Arm]) -> Table {
    let mut rows = Vec::new();
    for family in families {
        for part in &family.parts {
            rows.extend(part.figures.iter().map(|figure| {
                let of = |arm: &ArmResults| {
                    let found = named::find(&arm.families, &family.name)?;
                    found.figure(&part.name, &figure.name).map(Cell::figure)
                };
                Line {
                    label: format!("{}, {}", family.title, part.name),
                    detail: figure.label(),
                    minor: false,
                    cells: results.arms.iter().map(of).collect(),
                }
            }));
        }
    }
    Table {
        arms: arms.to_vec(),
        difference: None,
        rows,
    }
}

/// What became of the questions; those that could not be asked only where there are any.
fn counts(results: &Results) -> Vec<Line> {
    let of = |arm: &ArmResults| -> Counts {
        arm.families.iter().filter_map(|family| family.counts).sum()
    };
    let counts: Vec<Counts> = results.arms.iter().map(of).collect();
    let line = |label: &str, count: &dyn Fn(&Counts) -> usize| Line {
        label: label.to_owned(),
        detail: String::new(),
        minor: false,
        cells: (counts.iter())
            .map(|c| Some(Cell::text(grouped(count(c) as u64))))
            .collect(),
    };
    let mut lines = vec![
        line("Questions asked", &|c| c.samples),
        line("Unparseable answers", &|c| c.unparseable),
    ];
    if counts.iter().any(|c| c.unreadable > 0) {
        lines.push(line("Questions that could not be asked", &|c| c.unreadable));
    }
    lines
}

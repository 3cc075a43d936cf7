//! Dots with whiskers, a row for each quantity, over a common axis.

use deem_metrics::figures::{Figure, Unit};
use serde::Serialize;

use super::place;
use crate::scale::Scale;
use crate::text::{range, symbol};

/// Height of one mark, in pixels.
const MARK: usize = 18;
/// Free height around the marks of a row.
const MARGIN: usize = 8;
/// Steps of an axis, about.
const STEPS: usize = 5;

/// A chart as the template draws it.
#[derive(Debug, Serialize)]
pub(super) struct IntervalChart {
    rows: Vec<DrawnRow>,
    grid: Vec<String>,
    ticks: Vec<Tick>,
    unit: &'static str,
}

/// What a row is to show.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub label: String,
    /// Which of several figures, in words.
    pub detail: String,
    /// Part of the row above it: indented and lighter.
    pub minor: bool,
    /// Printed beside the marks: a value and its interval.
    pub value: Option<(String, Option<String>)>,
    /// A line across the row.
    pub reference: Option<f64>,
    pub marks: Vec<Mark<'a>>,
}

/// A dot with its interval.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    /// Colour and marker.
    pub class: usize,
    /// Whose it is.
    pub name: &'a str,
    pub figure: &'a Figure,
}

#[derive(Debug, Serialize)]
struct DrawnRow {
    label: String,
    detail: String,
    minor: bool,
    value: Option<(String, Option<String>)>,
    reference: Option<String>,
    height: usize,
    /// All marks in words, for screen readers.
    spoken: String,
    marks: Vec<DrawnMark>,
}

#[derive(Debug, Serialize)]
struct DrawnMark {
    class: usize,
    /// In words, for pointers that rest on it.
    title: String,
    y: usize,
    mean: String,
    whisker: Option<(String, String)>,
    /// Single values, as faint dots.
    singles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tick {
    x: String,
    label: String,
    anchor: &'static str,
}

impl IntervalChart {
    /// A chart of rows in one unit; `write` writes the numbers in words. Nothing without marks.
    pub(super) fn new(
        rows: Vec<Row>,
        unit: Unit,
        write: impl Fn(f64, Unit) -> String + Copy,
    ) -> Option<Self> {
        let extent = rows.iter().flat_map(|row| {
            let marks = row.marks.iter().flat_map(|mark| {
                let figure = mark.figure;
                let bounds = [Some(figure.mean), figure.low, figure.high];
                let singles = figure.per_seed.values().copied();
                bounds.into_iter().flatten().chain(singles)
            });
            marks.chain(row.reference)
        });
        let scale = Scale::around(extent, STEPS);
        let last = scale.ticks.len() - 1;
        let ticks = scale.ticks.iter().enumerate().map(|(at, tick)| Tick {
            x: place(scale.percent(*tick)),
            label: scale.label(*tick),
            anchor: match at {
                0 => "start",
                at if at == last => "end",
                _ => "middle",
            },
        });
        Some(Self {
            ticks: ticks.collect(),
            grid: scale
                .ticks
                .iter()
                .map(|t| place(scale.percent(*t)))
                .collect(),
            unit: symbol(unit),
            rows: rows.iter().any(|row| !row.marks.is_empty()).then(|| {
                let rows = rows.into_iter();
                rows.map(|row| draw(row, &scale, write)).collect()
            })?,
        })
    }
}

fn draw(row: Row, scale: &Scale, write: impl Fn(f64, Unit) -> String + Copy) -> DrawnRow {
    let at = |value: f64| place(scale.percent(value));
    let marks: Vec<DrawnMark> = (row.marks.iter().enumerate())
        .map(
            |(
                i,
                Mark {
                    class,
                    name,
                    figure,
                },
            )| DrawnMark {
                class: *class,
                title: format!(
                    "{name}: {}{}{}",
                    write(figure.mean, figure.unit),
                    symbol(figure.unit),
                    range(figure, write).map_or(String::new(), |range| format!(" {range}"))
                ),
                y: i * MARK + MARK / 2 + MARGIN / 2,
                mean: at(figure.mean),
                whisker: figure
                    .low
                    .zip(figure.high)
                    .map(|(low, high)| (at(low), at(high))),
                singles: figure.per_seed.values().map(|value| at(*value)).collect(),
            },
        )
        .collect();
    let spoken: Vec<&str> = marks.iter().map(|mark| mark.title.as_str()).collect();
    DrawnRow {
        height: MARK * marks.len().max(1) + MARGIN,
        spoken: spoken.join("; "),
        reference: row.reference.map(at),
        label: row.label,
        detail: row.detail,
        minor: row.minor,
        value: row.value,
        marks,
    }
}

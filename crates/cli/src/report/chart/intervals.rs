//! Dots with whiskers, a row for each quantity.

use std::fmt::Write;

use super::{Scale, marker};
use crate::report::html::escape;

/// A dot with its interval.
pub(in super::super) struct Mark {
    /// Style class, see [`super::arm_class`].
    pub class: usize,
    pub mean: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Single values, as faint dots (seeds).
    pub singles: Vec<f64>,
    /// In words, for pointers that rest on it and for screen readers.
    pub title: String,
}

/// A labelled row of marks.
pub(in super::super) struct Row {
    pub label: String,
    /// Beside the marks; may hold markup.
    pub value: String,
    pub marks: Vec<Mark>,
    /// Part of the row above it: indented and lighter.
    pub minor: bool,
}

/// Height of one mark, in pixels.
const MARK: usize = 18;

/// Rows of marks over a common axis. `reference` draws a line at a value (zero, chance).
pub(in super::super) fn interval_chart(
    rows: &[Row],
    scale: &Scale,
    reference: Option<f64>,
    unit: &str,
) -> String {
    let mut html = String::from("<div class=\"rows\">");
    let grid: String = (scale.ticks.iter())
        .map(|tick| {
            format!(
                "<line class=\"grid\" x1=\"{0:.2}%\" x2=\"{0:.2}%\" y1=\"0\" y2=\"100%\"/>",
                scale.percent(*tick)
            )
        })
        .collect();
    let zero = reference.map_or(String::new(), |value| {
        format!(
            "<line class=\"reference\" x1=\"{0:.2}%\" x2=\"{0:.2}%\" y1=\"0\" y2=\"100%\"/>",
            scale.percent(value)
        )
    });
    for row in rows {
        let height = MARK * row.marks.len().max(1) + 8;
        let marks: String = row
            .marks
            .iter()
            .enumerate()
            .map(|(i, mark)| draw(mark, scale, i * MARK + MARK / 2 + 4))
            .collect();
        let spoken: Vec<&str> = row.marks.iter().map(|m| m.title.as_str()).collect();
        let _ = write!(
            html,
            "<div class=\"row{}\"><div class=\"label\">{}</div><svg class=\"track\" height=\"{height}\" role=\"img\" aria-label=\"{}\">{grid}{zero}{marks}</svg><div class=\"value\">{}</div></div>",
            if row.minor { " minor" } else { "" },
            escape(&row.label),
            escape(&spoken.join("; ")),
            row.value,
        );
    }
    let last = scale.ticks.len() - 1;
    let labels: String = (scale.ticks.iter().enumerate())
        .map(|(i, tick)| {
            let (anchor, unit) = match i {
                0 => ("start", ""),
                i if i == last => ("end", unit),
                _ => ("middle", ""),
            };
            format!(
                "<text x=\"{:.2}%\" y=\"14\" text-anchor=\"{anchor}\">{}{unit}</text>",
                scale.percent(*tick),
                scale.label(*tick)
            )
        })
        .collect();
    let _ = write!(
        html,
        "<div class=\"row axis\"><div class=\"label\"></div><svg class=\"track\" height=\"18\" aria-hidden=\"true\">{labels}</svg><div class=\"value\"></div></div></div>"
    );
    html
}

fn draw(mark: &Mark, scale: &Scale, y: usize) -> String {
    let mut svg = format!(
        "<g class=\"arm-{}\"><title>{}</title>",
        mark.class,
        escape(&mark.title)
    );
    if let (Some(low), Some(high)) = (mark.low, mark.high) {
        let _ = write!(
            svg,
            "<line class=\"whisker\" x1=\"{:.2}%\" x2=\"{:.2}%\" y1=\"{y}\" y2=\"{y}\"/>",
            scale.percent(low),
            scale.percent(high)
        );
    }
    for single in &mark.singles {
        let _ = write!(
            svg,
            "<circle class=\"single\" cx=\"{:.2}%\" cy=\"{y}\" r=\"2.5\"/>",
            scale.percent(*single)
        );
    }
    let _ = write!(
        svg,
        "<svg class=\"mark\" x=\"{:.2}%\" y=\"{y}\" overflow=\"visible\">{}</svg></g>",
        scale.percent(mark.mean),
        marker(mark.class)
    );
    svg
}

//! Curves over training steps.

use serde::Serialize;

use super::place;
use crate::input::{Level, Stage};
use crate::scale::Scale;
use crate::text::grouped;

/// Points that are drawn at most; more are averaged in groups.
const POINTS: usize = 160;
/// Steps of the axis of values, about.
const STEPS: usize = 4;

/// A chart as the template draws it, in a square of 100 by 100.
#[derive(Debug, Serialize)]
pub(super) struct LineChart {
    name: String,
    /// Printed below the line, as in L with index NTP.
    index: Option<String>,
    note: String,
    start: String,
    end: String,
    labels: Vec<Label>,
    stages: Vec<(String, String)>,
    levels: Vec<Label>,
    lines: Vec<DrawnLine>,
}

/// One curve.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Colour.
    pub class: usize,
    /// Whose it is, in words.
    pub title: String,
    /// Step and value.
    pub points: &'a [(f64, f64)],
}

#[derive(Debug, Serialize)]
struct Label {
    /// From the bottom.
    height: String,
    /// From the top.
    y: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct DrawnLine {
    class: usize,
    title: String,
    points: String,
}

impl LineChart {
    /// A chart of a quantity; nothing without a finite point.
    pub(super) fn new(
        term: &str,
        note: &str,
        lines: &[Line],
        levels: &[&Level],
        stages: &[Stage],
    ) -> Option<Self> {
        let thinned: Vec<Vec<(f64, f64)>> = lines.iter().map(|line| thin(line.points)).collect();
        let levels = levels.iter().filter(|level| level.value.is_finite());
        let values = thinned.iter().flatten().map(|point| point.1);
        let y = Scale::around(values.chain(levels.clone().map(|l| l.value)), STEPS);
        let steps = || {
            let points = lines.iter().flat_map(|line| line.points);
            points.filter(|point| finite(point)).map(|point| point.0)
        };
        let start = steps().fold(f64::INFINITY, f64::min);
        let end = steps().fold(f64::NEG_INFINITY, f64::max);
        if start > end {
            return None;
        }
        let x = |step: f64| match end - start {
            0.0 => place(50.0),
            width => place(100.0 * (step - start) / width),
        };
        let from_top = |value: f64| place(100.0 - y.percent(value));
        let label = |value: f64, text: String| Label {
            height: place(y.percent(value)),
            y: from_top(value),
            text,
        };
        let (name, index) = title(term);
        let within = |stage: &&Stage| stage.step as f64 > start && (stage.step as f64) < end;
        let stages = stages.iter().filter(within);
        let lines = lines.iter().zip(&thinned).map(|(line, points)| {
            let points = points.iter();
            let points: Vec<String> = points
                .map(|(step, value)| format!("{},{}", x(*step), from_top(*value)))
                .collect();
            DrawnLine {
                class: line.class,
                title: line.title.clone(),
                points: points.join(" "),
            }
        });
        Some(Self {
            name,
            index,
            note: note.to_owned(),
            start: grouped(start as u64),
            end: grouped(end as u64),
            labels: (y.ticks.iter())
                .map(|tick| label(*tick, y.label(*tick)))
                .collect(),
            levels: levels
                .map(|level| label(level.value, level.note.clone()))
                .collect(),
            stages: stages.map(|s| (x(s.step as f64), s.name.clone())).collect(),
            lines: lines.collect(),
        })
    }
}

/// A symbol and its index (`L_NTP`), or words (`gradient_ratio`).
fn title(term: &str) -> (String, Option<String>) {
    match term.split_once('_') {
        Some((symbol, index)) if symbol.chars().count() == 1 => {
            (symbol.to_owned(), Some(index.to_owned()))
        }
        _ => (term.replace('_', " "), None),
    }
}

fn finite((step, value): &(f64, f64)) -> bool {
    step.is_finite() && value.is_finite()
}

/// Averages neighbours until few enough points are left; broken values are left out.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let whole: Vec<(f64, f64)> = points.iter().copied().filter(finite).collect();
    let group = whole.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let n = chunk.len() as f64;
        let (x, y) = chunk
            .iter()
            .fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        (x / n, y / n)
    };
    whole.chunks(group).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_averaged_and_broken_values_left_out() {
        let points: Vec<(f64, f64)> = (0..1000)
            .map(|i| (f64::from(i), 1.0))
            .chain([(1000.0, f64::NAN)])
            .collect();
        let thinned = thin(&points);
        assert!(thinned.len() <= POINTS && thinned.iter().all(|p| p.1 == 1.0));
        assert_eq!(thin(&points[..2]), points[..2]);
    }

    #[test]
    fn no_points_no_chart_and_one_point_in_the_middle() {
        let line = |points| Line {
            class: 0,
            title: String::new(),
            points,
        };
        assert!(LineChart::new("loss", "", &[line(&[(0.0, f64::NAN)])], &[], &[]).is_none());
        let chart = LineChart::new("loss", "", &[line(&[(3.0, 1.0)])], &[], &[]).unwrap();
        assert_eq!(chart.lines[0].points, "50.00,50.00");
    }

    #[test]
    fn levels_are_within_the_chart() {
        let line = Line {
            class: 0,
            title: String::new(),
            points: &[(0.0, 2.0), (1.0, 3.0)],
        };
        let level = |value| Level {
            term: "loss".into(),
            value,
            note: "nothing known".into(),
        };
        let (high, broken) = (level(10.0), level(f64::NAN));
        let chart = LineChart::new("loss", "", &[line], &[&high, &broken], &[]).unwrap();
        let levels: Vec<_> = chart.levels.iter().map(|l| (&*l.y, &*l.text)).collect();
        assert_eq!(levels, [("0.00", "nothing known")]);
    }

    #[test]
    fn symbols_have_an_index_and_words_have_spaces() {
        assert_eq!(title("L_NTP"), ("L".into(), Some("NTP".into())));
        assert_eq!(title("gradient_ratio"), ("gradient ratio".into(), None));
    }
}

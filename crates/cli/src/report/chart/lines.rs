//! Curves over training steps.

use std::fmt::Write;

use super::Scale;
use crate::report::html::{escape, grouped};

/// One curve.
pub(in super::super) struct Line {
    /// Style class, see [`super::arm_class`].
    pub class: usize,
    /// Arm and seed, in words.
    pub title: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// Points that are drawn at most; more are averaged in groups.
const POINTS: usize = 160;

/// A small chart of curves. `marks` are steps to point out (where a stage begins).
pub(in super::super) fn line_chart(
    title: &str,
    note: &str,
    lines: &[Line],
    marks: &[(u64, String)],
) -> String {
    let thinned: Vec<Vec<(f64, f64)>> = lines.iter().map(|line| thin(&line.points)).collect();
    let y = Scale::around(thinned.iter().flatten().map(|p| p.1), 4);
    let steps = || {
        let points = lines.iter().flat_map(|line| &line.points);
        points
            .filter(|(step, value)| step.is_finite() && value.is_finite())
            .map(|point| point.0)
    };
    let start = steps().fold(f64::INFINITY, f64::min);
    let end = steps().fold(f64::NEG_INFINITY, f64::max);
    if start > end {
        return String::new();
    }
    let place = |step: f64| {
        if end > start {
            100.0 * (step - start) / (end - start)
        } else {
            50.0
        }
    };

    let mut plot = String::new();
    for tick in &y.ticks {
        let _ = write!(
            plot,
            "<line class=\"grid\" x1=\"0\" x2=\"100\" y1=\"{0:.2}\" y2=\"{0:.2}\"/>",
            100.0 - y.percent(*tick)
        );
    }
    for (step, name) in marks
        .iter()
        .filter(|(step, _)| *step as f64 > start && (*step as f64) < end)
    {
        let _ = write!(
            plot,
            "<line class=\"stage\" x1=\"{0:.2}\" x2=\"{0:.2}\" y1=\"0\" y2=\"100\"><title>{1}</title></line>",
            place(*step as f64),
            escape(name)
        );
    }
    for (line, points) in lines.iter().zip(&thinned) {
        let path: Vec<String> = points
            .iter()
            .map(|(step, value)| format!("{:.2},{:.2}", place(*step), 100.0 - y.percent(*value)))
            .collect();
        let _ = write!(
            plot,
            "<polyline class=\"curve arm-{}\" points=\"{}\"><title>{}</title></polyline>",
            line.class,
            path.join(" "),
            escape(&line.title)
        );
    }
    let labels: String = (y.ticks.iter())
        .map(|tick| {
            format!(
                "<span style=\"bottom:{:.2}%\">{}</span>",
                y.percent(*tick),
                y.label(*tick)
            )
        })
        .collect();
    let (title, note) = (escape(title), escape(note));
    let heading = match title.split_once('_') {
        Some((symbol, index)) => format!("{symbol}<sub>{index}</sub>"),
        None => title.clone(),
    };
    format!(
        "<figure class=\"lines\"><figcaption><b>{heading}</b> {note}</figcaption><div class=\"y\">{labels}</div>\
         <svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">{plot}</svg>\
         <div class=\"x\"><span>{}</span><span>step {}</span></div></figure>",
        grouped(start as u64),
        grouped(end as u64),
    )
}

/// Averages neighbours until few enough points are left.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let group = finite.len().div_ceil(POINTS).max(1);
    finite
        .chunks(group)
        .map(|chunk| {
            let n = chunk.len() as f64;
            (
                chunk.iter().map(|p| p.0).sum::<f64>() / n,
                chunk.iter().map(|p| p.1).sum::<f64>() / n,
            )
        })
        .collect()
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
    fn no_points_no_chart() {
        let empty = Line {
            class: 0,
            title: String::new(),
            points: vec![(0.0, f64::NAN)],
        };
        assert_eq!(line_chart("loss", "", &[empty], &[]), "");
        let one = Line {
            class: 0,
            title: "<seed>".into(),
            points: vec![(3.0, 1.0)],
        };
        let html = line_chart("loss", "", &[one], &[]);
        assert!(
            html.contains("&lt;seed&gt;") && !html.contains("NaN"),
            "{html}"
        );
    }
}

//! Charts as inline SVG. Text stays outside of scaled coordinates, so it is readable at any width.

mod intervals;
mod lines;
mod scale;

pub(super) use intervals::{Mark, Row, interval_chart};
pub(super) use lines::{Line, line_chart};
pub(super) use scale::Scale;

/// Style class of an arm: a colour and a marker, the same all over the page.
pub(super) fn arm_class(arm: &str, arms: &[&str]) -> usize {
    match arm {
        "feedback" => 0,
        "no-feedback" => 1,
        "paper-baseline" => 2,
        _ => {
            let others = arms
                .iter()
                .filter(|a| !matches!(**a, "feedback" | "no-feedback" | "paper-baseline"));
            3 + others.copied().position(|a| a == arm).unwrap_or(0) % 3
        }
    }
}

/// Outline of an arm's marker, about 10 units wide around the origin.
fn marker(class: usize) -> &'static str {
    match class {
        0 => "<circle r=\"5\"/>",
        1 => "<rect x=\"-4.5\" y=\"-4.5\" width=\"9\" height=\"9\"/>",
        2 => "<path d=\"M0-6 6 0 0 6-6 0z\"/>",
        3 => "<path d=\"M0-5.5 5.5 4.5H-5.5z\"/>",
        4 => "<path d=\"M0 5.5 5.5-4.5H-5.5z\"/>",
        _ => "<circle r=\"3.5\"/>",
    }
}

/// What the markers mean.
pub(super) fn legend(arms: &[&str]) -> String {
    let entries: String = arms
        .iter()
        .map(|arm| {
            let class = arm_class(arm, arms);
            format!(
                "<span class=\"key arm-{class}\"><svg width=\"14\" height=\"14\" viewBox=\"-7 -7 14 14\" aria-hidden=\"true\">{}</svg>{}</span>",
                marker(class),
                super::html::escape(arm)
            )
        })
        .collect();
    format!("<p class=\"legend\">{entries}</p>")
}

//! How training went.

use std::collections::BTreeSet;

use super::{arms, section};
use crate::report::chart::{Line, arm_class, legend, line_chart};
use crate::report::input::ReportInput;

/// Term of the curve that has its own explanation.
const RATIO: &str = "gradient_ratio";

/// Terms of the loss, in the order of the page; others follow.
const TERMS: [&str; 3] = ["L_NTP", "L_CSR", "L_NIP"];

/// A chart for each term of the loss, and one for the ratio of gradients.
pub(in super::super) fn training(input: &ReportInput) -> String {
    let arms = arms(&input.results);
    let lines = |term: &str| -> Vec<Line> {
        let curves = input.curves.iter().filter(|curve| curve.term == term);
        curves
            .map(|curve| Line {
                class: arm_class(&curve.arm, &arms),
                title: format!("{}, seed {}", curve.arm, curve.seed),
                points: curve.points.clone(),
            })
            .collect()
    };
    let terms: BTreeSet<(usize, &str)> = input
        .curves
        .iter()
        .map(|c| c.term.as_str())
        .filter(|t| *t != RATIO)
        .map(|term| {
            (
                TERMS.iter().position(|t| *t == term).unwrap_or(TERMS.len()),
                term,
            )
        })
        .collect();
    let mut charts: String = terms
        .iter()
        .map(|(_, term)| line_chart(term, explanation(term), &lines(term), &input.stages))
        .collect();
    charts += &line_chart(
        "Gradient ratio",
        "feedback over text, at the encoder, \u{3bb} included",
        &lines(RATIO),
        &input.stages,
    );
    if charts.is_empty() {
        return charts;
    }
    let stages: Vec<String> = input
        .stages
        .iter()
        .map(|(step, name)| format!("{} from step {step}", crate::report::html::escape(name)))
        .collect();
    let stages = if stages.is_empty() {
        String::new()
    } else {
        format!("<p class=\"note\">Dotted lines: {}.</p>", stages.join(", "))
    };
    section(
        "training",
        "How training went",
        "One line for each seed. The weight \u{3bb} of the feedback means little by itself; the gradient ratio says how loud feedback is beside the text loss.",
        &format!(
            "<div class=\"panel\">{}<div class=\"charts\">{charts}</div>{stages}</div>",
            legend(&arms)
        ),
    )
}

fn explanation(term: &str) -> &'static str {
    match term {
        "L_NTP" => "next token",
        "L_NIP" => "next image",
        "L_CSR" => "restoring the image: the feedback",
        "L" | "loss" | "total" => "weighted sum",
        _ => "",
    }
}

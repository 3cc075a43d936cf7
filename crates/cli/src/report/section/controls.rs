//! Does the model look at the image at all, and what does feedback cost?

use std::fmt::Write;

use super::{arms, section};
use crate::report::chart::arm_class;
use crate::report::html::{escape, grouped, number, range, signed};
use crate::report::input::ReportInput;
use crate::report::results::{ArmResults, Bounds};

/// A named column of the table.
type Quantity = (&'static str, fn(&ArmResults) -> Option<String>);

fn interval(value: deem_metrics::statistics::Interval) -> String {
    let Bounds { low, high } = value.into();
    format!(
        "{}<small>{}</small>",
        number(value.mean),
        range(low, high, number)
    )
}

const QUANTITIES: [Quantity; 9] = [
    ("Attribute questions, own images, %", |a| {
        a.shuffled_images.map(|s| interval(s.own))
    }),
    ("\u{2026} images of other questions, %", |a| {
        a.shuffled_images.map(|s| interval(s.shuffled))
    }),
    ("\u{2026} lost by shuffling, points", |a| {
        a.shuffled_images
            .map(|s| signed(s.shuffled.mean - s.own.mean))
    }),
    ("RobustVQA by ranking, %", |a| {
        a.robust_vqa.ranking.map(interval)
    }),
    ("Answered yes in POPE, %", |a| {
        let ratios = &a.pope.yes_ratio;
        (!ratios.is_empty()).then(|| number(ratios.values().sum::<f64>() / ratios.len() as f64))
    }),
    ("Unparseable answers", |a| {
        Some(grouped(
            (a.robust_vqa.unparseable + a.pope.unparseable + a.mmvp.unparseable) as u64,
        ))
    }),
    ("Seconds per step", |a| {
        Some(format!("{:.2}", a.seconds_per_step))
    }),
    ("Parameters trained", |a| {
        Some(grouped(a.trainable_parameters))
    }),
    ("Gradient ratio, feedback / text", |a| {
        Some(
            a.gradient_ratio
                .map_or("\u{2013}".to_owned(), |r| format!("{r:.3}")),
        )
    }),
];

/// Controls and costs of each arm.
pub(in super::super) fn controls(input: &ReportInput) -> String {
    let results = &input.results;
    if results.arms.is_empty() {
        return String::new();
    }
    let names = arms(results);
    let mut table = String::from("<div class=\"scroll\"><table><thead><tr><th scope=\"col\"></th>");
    for arm in &names {
        let _ = write!(
            table,
            "<th scope=\"col\" class=\"arm-{}\">{}</th>",
            arm_class(arm, &names),
            escape(arm)
        );
    }
    table.push_str("</tr></thead><tbody>");
    for (name, value) in QUANTITIES {
        let cells: Vec<Option<String>> = results.arms.values().map(value).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(table, "<tr><th scope=\"row\">{name}</th>");
        for cell in cells {
            let _ = write!(
                table,
                "<td>{}</td>",
                cell.unwrap_or_else(|| "\u{2013}".to_owned())
            );
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table></div>");
    section(
        "controls",
        "Controls and cost",
        "If answers did not depend on the image, exchanging the images between questions would cost nothing. Ranking asks whether yes is likelier for the true than for the false label, and so is free of a liking for either word.",
        &table,
    )
}

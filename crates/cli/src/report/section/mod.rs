//! The parts of the page, one a file. Each returns nothing where it has nothing to show.

mod accuracy;
mod controls;
mod differences;
mod examples;
mod headline;
mod reproduce;
mod restorations;
mod training;

pub(super) use accuracy::{accuracy, patterns};
pub(super) use controls::controls;
pub(super) use differences::differences;
pub(super) use examples::examples;
pub(super) use headline::headline;
pub(super) use reproduce::{limits, reproduce};
pub(super) use restorations::restorations;
pub(super) use training::training;

use super::results::{Differences, Results};

/// Names of the arms, in the order of the page.
pub(super) fn arms(results: &Results) -> Vec<&str> {
    results.arms.keys().map(String::as_str).collect()
}

/// The comparison that the study is about: feedback against its clean control, or else the first.
fn main_difference(results: &Results) -> Option<(&str, &Differences)> {
    let clean = super::results::difference_name("feedback", "no-feedback");
    let found = results
        .difference
        .get_key_value(&clean)
        .or_else(|| results.difference.first_key_value())?;
    Some((found.0, found.1))
}

/// Heading, explanation and content of a section.
fn section(id: &str, heading: &str, lead: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!(
        "<section id=\"{id}\"><h2>{heading}</h2><p class=\"lead\">{lead}</p>{content}</section>"
    )
}

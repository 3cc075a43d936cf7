//! What the encoder understood, drawn by the frozen diffusion model.

use super::section;
use crate::report::html::{escape, picture};
use crate::report::input::ReportInput;

/// Rows of the same image: original, restored before training, restored by each arm.
pub(in super::super) fn restorations(input: &ReportInput) -> String {
    let rows: String = (input.restorations.iter())
        .map(|restoration| {
            let label = &restoration.label;
            let cell = |name: &str, image| {
                let alt = format!("{label}, {name}");
                format!(
                    "<figure>{}<figcaption>{}</figcaption></figure>",
                    picture(image, &alt),
                    escape(name)
                )
            };
            let after: String = restoration
                .after
                .iter()
                .map(|(arm, image)| cell(arm, image))
                .collect();
            format!(
                "<div class=\"restoration\"><p>{}</p><div class=\"strip\">{}{}{after}</div></div>",
                escape(label),
                cell("the image", &restoration.input),
                cell("before training", &restoration.before),
            )
        })
        .collect();
    section(
        "restorations",
        "What the encoder understood",
        "The image is buried in noise, and the frozen diffusion model restores it, guided by the encoder's tokens alone. What the encoder did not keep, it has to invent.",
        &if rows.is_empty() {
            rows
        } else {
            format!("<div class=\"restorations\">{rows}</div>")
        },
    )
}

//! Questions that the arms answer differently.

use deem_metrics::answer::{ParseMode, normalize, parse_yes_no};

use super::section;
use crate::report::html::{escape, picture};
use crate::report::input::{Example, ReportInput};

/// A card for each question.
pub(in super::super) fn examples(input: &ReportInput) -> String {
    let cards: String = input.examples.iter().map(card).collect();
    section(
        "examples",
        "Questions answered differently",
        "Drawn from the evaluation where the arms disagree, whichever of them is right.",
        &if cards.is_empty() {
            cards
        } else {
            format!("<div class=\"examples\">{cards}</div>")
        },
    )
}

fn card(example: &Example) -> String {
    let answers: String = (example.answers.iter())
        .map(|(arm, answer)| {
            let right = is_right(answer, &example.truth);
            let (class, sign, spoken) = if right { ("right", "\u{2713}", "right") } else { ("wrong", "\u{2717}", "wrong") };
            let said = if answer.trim().is_empty() { "(nothing)" } else { answer.trim() };
            format!(
                "<dt>{}</dt><dd class=\"{class}\"><span role=\"img\" aria-label=\"{spoken}\">{sign}</span> {}</dd>",
                escape(arm),
                escape(said)
            )
        })
        .collect();
    format!(
        "<article class=\"example\">{}<div><p class=\"eyebrow\">{}</p><p class=\"question\">{}</p><dl><dt>truth</dt><dd>{}</dd>{answers}</dl></div></article>",
        picture(&example.image, "image of the question"),
        escape(&example.benchmark),
        escape(&example.question),
        escape(&example.truth),
    )
}

/// Whether an answer says the truth. Options are not known here, so a bare letter counts as wrong.
fn is_right(answer: &str, truth: &str) -> bool {
    let mode = ParseMode::Strict;
    match parse_yes_no(truth, mode) {
        Some(truth) => parse_yes_no(answer, mode) == Some(truth),
        None => {
            let padded = |text: &str| format!(" {} ", normalize(text));
            padded(answer).contains(&padded(truth)) && !padded(answer).contains(" not ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_not_compared() {
        assert!(is_right("Yes, it is.", "yes") && !is_right("yes", "no"));
        assert!(is_right("(b) three", "three") && is_right("3", "three"));
        assert!(
            !is_right("two", "three") && !is_right("", "three") && !is_right("not left", "left")
        );
    }
}

//! Pictures: what the encoder understood, and questions that arms answer differently.

use serde::Serialize;

use super::Section;
use crate::input::{Answer, Example, Report, Restoration};
use crate::picture::Picture;

/// Rows of the same image: original, restored before training, restored by each arm.
pub(super) fn restorations(report: &Report) -> Option<Section> {
    #[derive(Serialize)]
    struct Strip {
        label: String,
        figures: Vec<(String, Picture)>,
    }

    let strip = |Restoration {
                     label,
                     input,
                     before,
                     after,
                 }: &Restoration| {
        let own = [("the image", input), ("before training", before)];
        let after = after.iter().map(|(arm, image)| (arm.as_str(), image));
        let figures = own.into_iter().chain(after).map(|(name, image)| {
            let alt = format!("{label}, {name}");
            (name.to_owned(), Picture::new(image, alt))
        });
        Strip {
            label: label.clone(),
            figures: figures.collect(),
        }
    };
    let strips: Vec<Strip> = report.restorations.iter().map(strip).collect();
    (!strips.is_empty()).then(|| {
        Section::new(
            "restorations",
            "Restorations",
            "What the encoder understood",
            "The image is buried in noise, and the frozen diffusion model restores it, guided by the encoder's tokens alone. \
             What the encoder did not keep, it has to invent.",
            strips,
        )
    })
}

/// A card for each question.
pub(super) fn examples(report: &Report) -> Option<Section> {
    let cards: Vec<Card> = report.examples.iter().map(Card::from).collect();
    let (heading, lead) = if report.results.arms.len() == 1 {
        (
            "Questions answered wrongly",
            "Drawn evenly from all that were answered wrongly.",
        )
    } else {
        (
            "Questions answered differently",
            "Drawn from the evaluation where the arms disagree, whichever of them is right.",
        )
    };
    (!cards.is_empty()).then(|| Section::new("examples", "Examples", heading, lead, cards))
}

#[derive(Serialize)]
struct Card<'a> {
    picture: Picture,
    benchmark: &'a str,
    question: &'a str,
    truth: &'a str,
    answers: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Said<'a> {
    arm: &'a str,
    text: &'a str,
    right: bool,
}

impl<'a> From<&'a Example> for Card<'a> {
    fn from(example: &'a Example) -> Self {
        Self {
            picture: Picture::new(&example.image, "image of the question"),
            benchmark: &example.benchmark,
            question: &example.question,
            truth: &example.truth,
            answers: example.answers.iter().map(Said::from).collect(),
        }
    }
}

impl<'a> From<&'a Answer> for Said<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            arm: &answer.arm,
            text: answer.text.trim(),
            right: answer.right,
        }
    }
}

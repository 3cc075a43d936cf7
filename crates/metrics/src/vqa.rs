//! Open questions answered by ten people: the accuracy of the VQA challenge.

use std::collections::HashSet;

use crate::answer::{ParseMode, extract_answer, is_python_space, normalize_vqa};
use crate::{MetricsError, Result};

/// VQA accuracy of one answer in [0, 1]: for each annotator, min(1, matches among the *other* annotators / 3), averaged.
///
/// Both sides go through the official normalisation ([`normalize_vqa`]). Paper mode cuts the answer as the official
/// code does and, as the challenge's tool does, normalises only where the annotators disagree.
///
/// # Errors
/// `Empty` without annotators.
pub fn vqa_accuracy(answer: &str, annotators: &[&str], mode: ParseMode) -> Result<f64> {
    if annotators.is_empty() {
        return Err(MetricsError::Empty {
            what: "annotators of a question",
        });
    }
    let plain = |text: &str| text.replace(['\n', '\t'], " ").trim().to_owned();
    let (answer, truths): (String, Vec<String>) = match mode {
        ParseMode::Strict => (
            normalize_vqa(answer),
            annotators.iter().map(|t| normalize_vqa(t)).collect(),
        ),
        ParseMode::Paper => {
            let answer = extract_answer(answer);
            let truths: Vec<String> = annotators.iter().map(|t| plain(t)).collect();
            if truths.iter().collect::<HashSet<_>>().len() > 1 {
                (
                    normalize_vqa(&answer),
                    truths.iter().map(|t| normalize_vqa(t)).collect(),
                )
            } else {
                (plain(&answer), truths)
            }
        }
    };
    if answer.is_empty() {
        return Ok(0.0);
    }
    let matches = truths.iter().filter(|truth| **truth == answer).count();
    let credit = |others: usize| (others as f64 / 3.0).min(1.0);
    let total: f64 = truths
        .iter()
        .map(|truth| credit(matches - usize::from(*truth == answer)))
        .sum();
    Ok(total / truths.len() as f64)
}

/// VQA accuracy of one answer in [0, 1], exactly as the challenge's evaluation tool computes it: both sides are
/// normalised, but only where the annotators disagree.
///
/// # Errors
/// `Empty` without annotators.
pub fn official_accuracy(answer: &str, annotators: &[&str]) -> Result<f64> {
    if annotators.is_empty() {
        return Err(MetricsError::Empty {
            what: "annotators of a question",
        });
    }
    let plain = |text: &str| {
        let text = text.replace(['\n', '\t'], " ");
        text.trim_matches(is_python_space).to_owned()
    };
    let (mut answer, mut truths) = (
        plain(answer),
        annotators.iter().map(|t| plain(t)).collect::<Vec<_>>(),
    );
    if truths.iter().any(|truth| *truth != truths[0]) {
        answer = normalize_vqa(&answer);
        truths = truths.iter().map(|t| normalize_vqa(t)).collect();
    }
    let matches = truths.iter().filter(|truth| **truth == answer).count();
    let credits = truths.iter().map(|truth| {
        let others = matches - usize::from(*truth == answer);
        (others as f64 / 3.0).min(1.0)
    });
    Ok(credits.sum::<f64>() / truths.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotators(counts: &[(&'static str, usize)]) -> Vec<&'static str> {
        counts
            .iter()
            .flat_map(|(answer, count)| std::iter::repeat_n(*answer, *count))
            .collect()
    }

    #[test]
    fn leave_one_out_by_hand() {
        let score = |matching| {
            let truths = annotators(&[("red", matching), ("blue", 10 - matching)]);
            vqa_accuracy("Red.", &truths, ParseMode::Strict).unwrap()
        };
        assert_eq!(score(0), 0.0);
        assert!((score(1) - 0.3).abs() < 1e-12); // nine see one match: 9 · 1/3 / 10
        assert!((score(2) - 0.6).abs() < 1e-12); // eight see two, two see one
        assert!((score(3) - 0.9).abs() < 1e-12); // seven see three, three see two
        assert!((score(4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn numbers_and_articles_are_normalised_on_both_sides() {
        let truths = annotators(&[("two", 5), ("the 2", 5)]);
        assert_eq!(
            vqa_accuracy("a 2", &truths, ParseMode::Strict).unwrap(),
            1.0
        );
    }

    #[test]
    fn unanimous_annotators_are_not_normalised_in_paper_mode() {
        let truths = annotators(&[("two", 10)]);
        assert_eq!(vqa_accuracy("2", &truths, ParseMode::Strict).unwrap(), 1.0);
        assert_eq!(vqa_accuracy("2", &truths, ParseMode::Paper).unwrap(), 0.0);
        assert_eq!(
            vqa_accuracy("There are two.", &truths, ParseMode::Paper).unwrap(),
            1.0
        );
    }

    #[test]
    fn the_tool_normalises_only_where_annotators_disagree() {
        let unanimous = annotators(&[("two", 10)]);
        assert_eq!(official_accuracy("2", &unanimous).unwrap(), 0.0);
        assert_eq!(official_accuracy(" two\n", &unanimous).unwrap(), 1.0);
        let divided = annotators(&[("two", 3), ("a pair", 7)]);
        assert!((official_accuracy("2", &divided).unwrap() - 0.9).abs() < 1e-12);
        assert!(official_accuracy("x", &[]).is_err());
    }

    #[test]
    fn an_empty_answer_is_wrong_even_where_the_truth_is_empty() {
        assert_eq!(
            vqa_accuracy("the", &["a", "an"], ParseMode::Strict).unwrap(),
            0.0
        );
        assert!(vqa_accuracy("x", &[], ParseMode::Strict).is_err());
    }
}

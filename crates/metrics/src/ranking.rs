//! Bias-free ranking: does the true object get more "yes" than the false one, whatever the threshold?
//!
//! After stage 1 alone a model may answer every question with the same word, and accuracy is 50 % whether it sees
//! or not. The margin of yes over no still orders the questions, and this order has no bias towards either word.

use std::collections::BTreeMap;

use crate::Result;
use crate::statistics::Scored;
use crate::yes_no::YesNoSample;

/// Margins of the questions about one image, by their true answer.
#[derive(Default)]
struct Margins {
    yes: Vec<f64>,
    no: Vec<f64>,
}

/// Ranks, within each image, the questions whose truth is yes against those whose truth is no.
///
/// Gives one score for each image and seed: the share of (yes, no) question pairs in which the yes question has the
/// larger margin, ties counting one half. Images without both kinds of question, and samples without a margin, are
/// left out. Hand the result to [`crate::statistics::accuracy`] or [`crate::statistics::paired_difference`].
///
/// # Errors
/// `OutOfRange` for a margin that is not a number.
pub fn rank_by_margin(samples: &[YesNoSample], stratum: &str) -> Result<Vec<Scored>> {
    let mut images: BTreeMap<(u64, &str), Margins> = BTreeMap::new();
    for sample in samples {
        let Some(margin) = sample.margin else {
            continue;
        };
        if margin.is_nan() {
            return Err(crate::MetricsError::OutOfRange {
                what: "margin of yes over no",
                found: margin,
                expected: "the numbers",
                question: sample.question.clone(),
            });
        }
        let margins = images.entry((sample.seed, &sample.image)).or_default();
        if sample.truth.is_yes() {
            &mut margins.yes
        } else {
            &mut margins.no
        }
        .push(margin);
    }
    Ok(images
        .into_iter()
        .filter(|(_, margins)| !margins.yes.is_empty() && !margins.no.is_empty())
        .map(|((seed, image), Margins { yes, no })| {
            let wins: f64 = yes
                .iter()
                .flat_map(|y| no.iter().map(move |n| win(*y, *n)))
                .sum();
            let value = wins / (yes.len() * no.len()) as f64;
            Scored {
                stratum: stratum.to_owned(),
                ..Scored::new(seed, image, image, value)
            }
        })
        .collect())
}

fn win(yes: f64, no: f64) -> f64 {
    match yes.total_cmp(&no) {
        _ if yes == no => 0.5,
        std::cmp::Ordering::Greater => 1.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::accuracy;
    use crate::yes_no::tests::sample;

    fn with_margin(image: &str, question: &str, truth: bool, margin: f64) -> YesNoSample {
        YesNoSample {
            margin: Some(margin),
            ..sample(image, question, truth, Some(false))
        }
    }

    #[test]
    fn a_model_that_always_says_no_can_still_rank() {
        let samples = [
            with_margin("a", "a/true", true, -1.0),
            with_margin("a", "a/mined", false, -3.0),
            with_margin("b", "b/true", true, -2.0),
            with_margin("b", "b/mined", false, -2.0),
            with_margin("c", "c/true", true, -5.0),
            with_margin("c", "c/mined", false, -4.0),
            with_margin("c", "c/other", false, -6.0),
            with_margin("d", "d/true", true, -1.0), // nothing to rank against
            sample("e", "e/true", true, None),      // no margin
            sample("e", "e/mined", false, None),
        ];
        let scored = rank_by_margin(&samples, "").unwrap();
        let values: Vec<_> = scored
            .iter()
            .map(|s| (s.cluster.as_str(), s.value))
            .collect();
        assert_eq!(values, [("a", 1.0), ("b", 0.5), ("c", 0.5)]);
        assert!((accuracy(&scored).unwrap().mean - 2.0 / 3.0).abs() < 1e-12);
        assert!(rank_by_margin(&[with_margin("a", "x", true, f64::NAN)], "").is_err());
    }
}

//! MMVP: pairs of images that CLIP finds alike; a pair counts only if both of its questions are answered correctly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figures::{Counts, Family, Figure, Part};
use crate::statistics::{Interval, Scored, accuracy};
use crate::{MetricsError, Result};

/// One of the two questions of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct PairSample {
    /// Seed of the run that answered.
    pub seed: u64,
    /// Identifies the pair, the same in all runs.
    pub pair: String,
    /// What the two images differ in (orientation, quantity, …).
    pub pattern: String,
    /// Whether the answer is right; nothing if it could not be parsed, which counts as wrong.
    pub correct: Option<bool>,
}

/// Pair accuracy, overall and per pattern. Fractions, not percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairScore {
    /// Share of pairs with both answers right.
    pub pair_accuracy: Interval,
    /// The same per pattern.
    pub patterns: BTreeMap<String, Interval>,
    /// Share of single questions answered right, clustered by pair.
    pub question_accuracy: Interval,
    /// Number of answers that chose no option.
    pub unparseable: usize,
    /// Number of pairs, counted once for each seed.
    pub pairs: usize,
}

impl From<&PairScore> for Family {
    /// Parts: `all`, then each pattern.
    fn from(score: &PairScore) -> Self {
        let pairs = |accuracy| Figure::percent("pair_accuracy", accuracy).chance(25.0);
        let questions = Figure::percent("question_accuracy", score.question_accuracy).chance(50.0);
        let all = Part::new("all", [pairs(score.pair_accuracy), questions]);
        let patterns = score.patterns.iter();
        let patterns = patterns.map(|(name, accuracy)| Part::new(name, [pairs(*accuracy)]));
        Self {
            counts: Some(Counts {
                samples: 2 * score.pairs,
                unreadable: 0,
                unparseable: score.unparseable,
            }),
            parts: std::iter::once(all).chain(patterns).collect(),
            ..Self::new("mmvp", "MMVP").about("perception: sees what two look-alikes differ in")
        }
    }
}

/// One score for each pair and seed, for statistics. The stratum is empty: patterns weigh as many pairs as they have.
///
/// # Errors
/// `Empty`, or `IncompletePair` unless each pair has exactly two questions in each seed.
pub fn scored(samples: &[PairSample]) -> Result<Vec<Scored>> {
    Ok(complete(samples)?
        .into_iter()
        .map(|((seed, pair), [a, b])| {
            let both = a.correct == Some(true) && b.correct == Some(true);
            Scored::new(seed, pair, pair, f64::from(u8::from(both)))
        })
        .collect())
}

/// Scores pairs.
///
/// # Errors
/// `Empty`, or `IncompletePair` unless each pair has exactly two questions in each seed.
pub fn score(samples: &[PairSample]) -> Result<PairScore> {
    let pairs = scored(samples)?;
    let pattern_of: BTreeMap<&str, &str> = samples
        .iter()
        .map(|s| (s.pair.as_str(), s.pattern.as_str()))
        .collect();
    let mut by_pattern: BTreeMap<String, Vec<Scored>> = BTreeMap::new();
    for pair in &pairs {
        by_pattern
            .entry(pattern_of[pair.question.as_str()].to_owned())
            .or_default()
            .push(pair.clone());
    }
    let questions: Vec<Scored> = complete(samples)?
        .into_iter()
        .flat_map(|((seed, pair), members)| {
            members.into_iter().enumerate().map(move |(index, sample)| {
                let value = f64::from(u8::from(sample.correct == Some(true)));
                Scored::new(seed, pair, format!("{pair}/{index}"), value)
            })
        })
        .collect();
    Ok(PairScore {
        pair_accuracy: accuracy(&pairs)?,
        patterns: by_pattern
            .into_iter()
            .map(|(name, pairs)| Ok((name, accuracy(&pairs)?)))
            .collect::<Result<_>>()?,
        question_accuracy: accuracy(&questions)?,
        unparseable: samples.iter().filter(|s| s.correct.is_none()).count(),
        pairs: pairs.len(),
    })
}

type Pairs<'a> = BTreeMap<(u64, &'a str), [&'a PairSample; 2]>;

fn complete(samples: &[PairSample]) -> Result<Pairs<'_>> {
    if samples.is_empty() {
        return Err(MetricsError::Empty { what: "pairs" });
    }
    let mut groups: BTreeMap<(u64, &str), Vec<&PairSample>> = BTreeMap::new();
    for sample in samples {
        groups
            .entry((sample.seed, &sample.pair))
            .or_default()
            .push(sample);
    }
    groups
        .into_iter()
        .map(|((seed, pair), members)| {
            let found = members.len();
            let members = <[&PairSample; 2]>::try_from(members).map_err(|_| {
                MetricsError::IncompletePair {
                    pair: pair.to_owned(),
                    seed,
                    found,
                }
            })?;
            Ok(((seed, pair), members))
        })
        .collect()
}

/// MMVP-VLM: whether a bare image-text encoder tells a pair apart.
///
/// `similarity[t][i]` is the similarity of caption `t` to image `i`, where caption 0 belongs to image 0. Each caption
/// must prefer its own image; equal similarities prefer neither.
#[must_use]
pub fn captions_find_their_images(similarity: [[f64; 2]; 2]) -> bool {
    similarity[0][0] > similarity[0][1] && similarity[1][1] > similarity[1][0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pair: &str, pattern: &str, correct: Option<bool>) -> PairSample {
        PairSample {
            seed: 0,
            pair: pair.into(),
            pattern: pattern.into(),
            correct,
        }
    }

    #[test]
    fn both_answers_must_be_right() {
        let score = score(&[
            sample("1", "colour", Some(true)),
            sample("1", "colour", Some(true)),
            sample("2", "colour", Some(true)),
            sample("2", "colour", Some(false)),
            sample("3", "quantity", Some(true)),
            sample("3", "quantity", None),
            sample("4", "quantity", Some(false)),
            sample("4", "quantity", Some(false)),
        ])
        .unwrap();
        assert_eq!(score.pair_accuracy.mean, 0.25);
        assert_eq!(
            (
                score.patterns["colour"].mean,
                score.patterns["quantity"].mean
            ),
            (0.5, 0.0)
        );
        assert_eq!(score.question_accuracy.mean, 0.5);
        assert_eq!((score.unparseable, score.pairs), (1, 4));
        let family = Family::from(&score);
        assert_eq!(family.headline().unwrap().mean, 25.0);
        assert_eq!(family.figure("colour", "pair_accuracy").unwrap().mean, 50.0);
        assert_eq!(family.counts.unwrap().samples, 8);
    }

    #[test]
    fn half_a_pair_is_an_error() {
        let error = score(&[sample("1", "colour", Some(true))]).unwrap_err();
        assert_eq!(
            error,
            MetricsError::IncompletePair {
                pair: "1".into(),
                seed: 0,
                found: 1
            }
        );
    }

    #[test]
    fn each_caption_must_prefer_its_own_image() {
        assert!(captions_find_their_images([[0.9, 0.1], [0.3, 0.4]]));
        assert!(!captions_find_their_images([[0.9, 0.1], [0.5, 0.4]]));
        assert!(!captions_find_their_images([[0.5, 0.5], [0.3, 0.4]]));
    }
}

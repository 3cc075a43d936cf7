//! POPE: is an object in the image, with random, popular and adversarial absent objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::figures::{Family, Part};
use crate::statistics::{Interval, Scored, accuracy};
use crate::yes_no::{YesNoSample, YesNoScore, mean_figures, score as score_yes_no};

/// How absent objects were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PopeSplit {
    /// Any object that is absent.
    Random,
    /// Frequent objects of the data set.
    Popular,
    /// Objects that often occur together with those present.
    Adversarial,
}

impl PopeSplit {
    /// All splits, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Random, Self::Popular, Self::Adversarial];

    /// Name in file names and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Popular => "popular",
            Self::Adversarial => "adversarial",
        }
    }
}

/// POPE results, per split and together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PopeScore {
    /// Score of each split that was evaluated.
    pub splits: BTreeMap<PopeSplit, YesNoScore>,
    /// Mean of the splits' accuracies, clustered by image across splits.
    pub mean: Interval,
}

impl From<&PopeScore> for Family {
    /// Parts: `mean`, then each split.
    fn from(score: &PopeScore) -> Self {
        let mean = Part::new("mean", mean_figures(score.mean, score.splits.values()));
        let splits = score.splits.iter();
        let splits = splits.map(|(split, s)| Part::new(split.name(), s.figures()));
        Self {
            counts: Some(score.splits.values().map(YesNoScore::counts).sum()),
            parts: std::iter::once(mean).chain(splits).collect(),
            ..Self::new("pope", "POPE").about("hallucination: knows what is not there")
        }
    }
}

/// Right and wrong answers of all splits, for [`crate::statistics::paired_difference`].
#[must_use]
pub fn scored(splits: &BTreeMap<PopeSplit, Vec<YesNoSample>>) -> Vec<Scored> {
    splits
        .iter()
        .flat_map(|(split, samples)| samples.iter().map(|s| s.scored(split.name())))
        .collect()
}

/// Scores POPE.
///
/// # Errors
/// `Empty` for no split or an empty one; `Duplicate` if a question occurs twice in a split and seed.
pub fn score(splits: &BTreeMap<PopeSplit, Vec<YesNoSample>>) -> Result<PopeScore> {
    let mean = accuracy(&scored(splits))?;
    let splits = splits
        .iter()
        .map(|(split, samples)| Ok((*split, score_yes_no(samples)?)))
        .collect::<Result<_>>()?;
    Ok(PopeScore { splits, mean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yes_no::tests::sample;

    #[test]
    fn mean_of_splits_not_of_questions() {
        let splits = BTreeMap::from([
            (
                PopeSplit::Random,
                vec![
                    sample("a", "1", true, Some(true)),
                    sample("b", "2", false, Some(false)),
                ],
            ),
            (
                PopeSplit::Adversarial,
                vec![
                    sample("a", "1", true, Some(true)),
                    sample("b", "2", false, Some(true)),
                    sample("b", "3", false, Some(true)),
                    sample("b", "4", false, None),
                ],
            ),
        ]);
        let score = score(&splits).unwrap();
        assert_eq!(score.splits[&PopeSplit::Random].accuracy.mean, 1.0);
        assert_eq!(score.splits[&PopeSplit::Adversarial].accuracy.mean, 0.25);
        assert!((score.mean.mean - 0.625).abs() < 1e-12);
        assert_eq!(
            serde_json::to_value(&score).unwrap()["splits"]["adversarial"]["unparseable"],
            1
        );
        let family = Family::from(&score);
        let names: Vec<&str> = family.parts.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["mean", "random", "adversarial"]);
        assert_eq!(family.headline().unwrap().mean, 100.0 * score.mean.mean);
        // Share of yes: 1/2 and 3/4.
        assert_eq!(family.figure("mean", "yes_ratio").unwrap().mean, 62.5);
        let counts = family.counts.unwrap();
        assert_eq!((counts.samples, counts.unparseable), (6, 1));
    }
}

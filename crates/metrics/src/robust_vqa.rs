//! RobustVQA: is a label the main object, on images that a zero-shot classifier gets wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::figures::{Family, Part};
use crate::statistics::{Interval, Scored, accuracy};
use crate::yes_no::{YesNoSample, YesNoScore, mean_figures, score as score_yes_no};

/// Where the images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RobustSet {
    /// Natural adversarial images (ImageNet-A).
    A,
    /// Renditions in other styles (ImageNet-R).
    R,
    /// A fresh draw from the original distribution (ImageNetV2).
    V,
}

impl RobustSet {
    /// All sets, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::A, Self::R, Self::V];

    /// Name in tables and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::R => "R",
            Self::V => "V",
        }
    }

    /// Key in the benchmark's annotation file.
    #[must_use]
    pub fn file_key(self) -> &'static str {
        match self {
            Self::A => "imagenet_a",
            Self::R => "imagenet_r",
            Self::V => "imagenet_v2",
        }
    }
}

/// RobustVQA results, per set and together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustVqaScore {
    /// Score of each set that was evaluated.
    pub sets: BTreeMap<RobustSet, YesNoScore>,
    /// Mean of the sets' accuracies.
    pub mean: Interval,
}

impl From<&RobustVqaScore> for Family {
    /// Parts: `mean`, then each set.
    fn from(score: &RobustVqaScore) -> Self {
        let mean = Part::new("mean", mean_figures(score.mean, score.sets.values()));
        let sets = score.sets.iter();
        let sets = sets.map(|(set, s)| Part::new(set.name(), s.figures()));
        Self {
            counts: Some(score.sets.values().map(YesNoScore::counts).sum()),
            parts: std::iter::once(mean).chain(sets).collect(),
            ..Self::new("robust_vqa", "RobustVQA")
                .about("robustness: A hard images, R unknown styles, V a fresh draw")
        }
    }
}

/// Right and wrong answers of all sets, for [`crate::statistics::paired_difference`].
#[must_use]
pub fn scored(sets: &BTreeMap<RobustSet, Vec<YesNoSample>>) -> Vec<Scored> {
    sets.iter()
        .flat_map(|(set, samples)| samples.iter().map(|s| s.scored(set.name())))
        .collect()
}

/// Scores RobustVQA: two questions for each image, one with the true and one with the mined label.
///
/// # Errors
/// `Empty` for no set or an empty one; `Duplicate` if a question occurs twice in a set and seed.
pub fn score(sets: &BTreeMap<RobustSet, Vec<YesNoSample>>) -> Result<RobustVqaScore> {
    let mean = accuracy(&scored(sets))?;
    let sets = sets
        .iter()
        .map(|(set, samples)| Ok((*set, score_yes_no(samples)?)))
        .collect::<Result<_>>()?;
    Ok(RobustVqaScore { sets, mean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yes_no::tests::sample;

    #[test]
    fn a_constant_answer_scores_one_half() {
        let set = vec![
            sample("a", "a/true", true, Some(false)),
            sample("a", "a/mined", false, Some(false)),
            sample("b", "b/true", true, Some(false)),
            sample("b", "b/mined", false, Some(false)),
        ];
        let score = score(&BTreeMap::from([
            (RobustSet::A, set.clone()),
            (RobustSet::V, set),
        ]))
        .unwrap();
        assert_eq!(score.mean.mean, 0.5);
        // Each image is half right: without spread between images, Wilson for one of two.
        assert!(
            score.mean.low > 0.05 && score.mean.high < 0.95,
            "{:?}",
            score.mean
        );
        assert_eq!(score.sets[&RobustSet::V].yes_ratio, 0.0);
        let family = Family::from(&score);
        let names: Vec<&str> = family.parts.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["mean", "A", "V"]);
        assert_eq!(family.figure("V", "accuracy").unwrap().mean, 50.0);
    }
}

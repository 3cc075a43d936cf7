//! RobustVQA: is a label the main object, on images that a zero-shot classifier gets wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::figures::{Family, Part};
use crate::statistics::{Interval, Scored, accuracy};
use crate::yes_no::{YesNoSample, YesNoScore, mean_figures, score as score_yes_no};

/// RobustVQA results, per set and together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustVqaScore {
    /// Score of each set that was evaluated: `A` (natural adversarial images), `R` (renditions), `V` (a fresh draw), or
    /// pictures of one's own.
    pub sets: BTreeMap<String, YesNoScore>,
    /// Mean of the sets' accuracies.
    pub mean: Interval,
}

impl From<&RobustVqaScore> for Family {
    /// Parts: `mean`, then each set.
    fn from(score: &RobustVqaScore) -> Self {
        let mean = Part::new("mean", mean_figures(score.mean, score.sets.values()));
        let sets = score.sets.iter();
        let sets = sets.map(|(set, s)| Part::new(set, s.figures()));
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
pub fn scored(sets: &BTreeMap<String, Vec<YesNoSample>>) -> Vec<Scored> {
    sets.iter()
        .flat_map(|(set, samples)| samples.iter().map(|s| s.scored(set)))
        .collect()
}

/// Scores RobustVQA: two questions for each image, one with the true and one with the mined label.
///
/// # Errors
/// `Empty` for no set or an empty one; `Duplicate` if a question occurs twice in a set and seed.
pub fn score(sets: &BTreeMap<String, Vec<YesNoSample>>) -> Result<RobustVqaScore> {
    let mean = accuracy(&scored(sets))?;
    let sets = sets
        .iter()
        .map(|(set, samples)| Ok((set.clone(), score_yes_no(samples)?)))
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
            ("A".to_owned(), set.clone()),
            ("V".to_owned(), set),
        ]))
        .unwrap();
        assert_eq!(score.mean.mean, 0.5);
        // Each image is half right: without spread between images, Wilson for one of two.
        assert!(
            score.mean.low > 0.05 && score.mean.high < 0.95,
            "{:?}",
            score.mean
        );
        assert_eq!(score.sets["V"].yes_ratio, 0.0);
        let family = Family::from(&score);
        let names: Vec<&str> = family.parts.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["mean", "A", "V"]);
        assert_eq!(family.figure("V", "accuracy").unwrap().mean, 50.0);
    }
}

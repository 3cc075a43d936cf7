//! The results file of a study, `results.json`. Accuracies are in percent.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use deem_engine::evaluate::Comparison;
use deem_metrics::pairs::PairScore;
use deem_metrics::pope::{PopeScore, PopeSplit};
use deem_metrics::robust_vqa::{RobustSet, RobustVqaScore};
use deem_metrics::statistics::{Difference, Interval};
use serde::{Deserialize, Serialize};

/// Results of a study: arms, and differences between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from, if known.
    pub commit: Option<String>,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Optimizer steps of each run, over all stages.
    pub steps: u64,
    /// Results of each arm, over all seeds.
    pub arms: BTreeMap<String, ArmResults>,
    /// Paired differences, named by [`difference_name`].
    pub difference: BTreeMap<String, Differences>,
}

impl Results {
    /// Writes the file, indented.
    ///
    /// # Errors
    /// If the file cannot be written; the message names it.
    pub fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Name of a difference: `feedback - no-feedback`.
pub fn difference_name(treatment: &str, control: &str) -> String {
    format!("{treatment} - {control}")
}

/// Bounds of a 95 % confidence interval; absent where the data give none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Lower bound.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
}

impl From<Interval> for Bounds {
    fn from(interval: Interval) -> Self {
        let finite = |bound: f64| bound.is_finite().then_some(bound);
        Self {
            low: finite(interval.low),
            high: finite(interval.high),
        }
    }
}

/// Everything measured of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmResults {
    /// Robustness: is this the main object?
    pub robust_vqa: RobustVqa,
    /// Hallucination: is this object in the image?
    pub pope: Pope,
    /// Perception: pairs of images that a CLIP encoder finds alike.
    pub mmvp: Mmvp,
    /// Descriptions of regions.
    pub region: Option<Region>,
    /// Accuracy with the right images and with those of other questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffled_images: Option<ShuffledImages>,
    /// Wall-clock seconds of a step of the stage that has feedback.
    pub seconds_per_step: f64,
    /// Number of parameters that are trained.
    pub trainable_parameters: u64,
    /// Norm of the encoder's gradient from feedback, weighted, over that from text; absent without feedback.
    pub gradient_ratio: Option<f64>,
    /// Headline accuracies of each seed alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_seed: BTreeMap<u64, SeedResults>,
}

/// RobustVQA accuracy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RobustVqa {
    /// Images that the encoder gets wrong before training.
    #[serde(rename = "A")]
    pub a: Option<f64>,
    /// Unseen styles.
    #[serde(rename = "R")]
    pub r: Option<f64>,
    /// A fresh draw of known styles.
    #[serde(rename = "V")]
    pub v: Option<f64>,
    /// Mean of the sets.
    pub mean: f64,
    /// Intervals of the figures above, by their names.
    pub intervals: BTreeMap<String, Bounds>,
    /// How often yes is likelier for the true than for the mined label: free of a bias towards either word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Interval>,
    /// Answers that were neither yes nor no.
    pub unparseable: usize,
    /// Questions, once for each seed.
    pub questions: usize,
}

impl RobustVqa {
    /// From fractions to percent.
    pub fn new(score: &RobustVqaScore, ranking: Option<Interval>) -> Self {
        let set = |set: RobustSet| score.sets.get(&set).map(|s| 100.0 * s.accuracy.mean);
        let parts = score
            .sets
            .iter()
            .map(|(set, s)| (set.name().to_owned(), s.accuracy));
        Self {
            a: set(RobustSet::A),
            r: set(RobustSet::R),
            v: set(RobustSet::V),
            mean: 100.0 * score.mean.mean,
            intervals: bounds(parts.chain([("mean".to_owned(), score.mean)])),
            ranking: ranking.map(Interval::percent),
            unparseable: score.sets.values().map(|s| s.unparseable).sum(),
            questions: score.sets.values().map(|s| s.questions).sum(),
        }
    }
}

/// POPE accuracy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pope {
    /// Random absent objects.
    pub random: Option<f64>,
    /// Frequent absent objects.
    pub popular: Option<f64>,
    /// Absent objects that often come with those present.
    pub adversarial: Option<f64>,
    /// Mean of the splits.
    pub mean: f64,
    /// Intervals of the figures above, by their names.
    pub intervals: BTreeMap<String, Bounds>,
    /// Share of yes among the answers of each split, in percent.
    pub yes_ratio: BTreeMap<String, f64>,
    /// F1 of each split, in percent.
    pub f1: BTreeMap<String, f64>,
    /// Answers that were neither yes nor no.
    pub unparseable: usize,
    /// Questions, once for each seed.
    pub questions: usize,
}

impl From<&PopeScore> for Pope {
    fn from(score: &PopeScore) -> Self {
        let split = |split: PopeSplit| score.splits.get(&split).map(|s| 100.0 * s.accuracy.mean);
        let named = || {
            score
                .splits
                .iter()
                .map(|(split, s)| (split.name().to_owned(), s))
        };
        let parts = named().map(|(name, s)| (name, s.accuracy));
        Self {
            random: split(PopeSplit::Random),
            popular: split(PopeSplit::Popular),
            adversarial: split(PopeSplit::Adversarial),
            mean: 100.0 * score.mean.mean,
            intervals: bounds(parts.chain([("mean".to_owned(), score.mean)])),
            yes_ratio: named()
                .map(|(name, s)| (name, 100.0 * s.yes_ratio))
                .collect(),
            f1: named().map(|(name, s)| (name, 100.0 * s.f1)).collect(),
            unparseable: named().map(|(_, s)| s.unparseable).sum(),
            questions: named().map(|(_, s)| s.questions).sum(),
        }
    }
}

/// MMVP pair accuracy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mmvp {
    /// Pairs with both questions right.
    pub pair_accuracy: f64,
    /// The same for each visual pattern.
    pub patterns: BTreeMap<String, f64>,
    /// Intervals: `pair_accuracy`, and each pattern by its name.
    pub intervals: BTreeMap<String, Bounds>,
    /// Single questions right.
    pub question_accuracy: f64,
    /// Answers that chose no option.
    pub unparseable: usize,
    /// Pairs, once for each seed.
    pub pairs: usize,
}

impl From<&PairScore> for Mmvp {
    fn from(score: &PairScore) -> Self {
        let parts = score
            .patterns
            .iter()
            .map(|(name, interval)| (name.clone(), *interval));
        Self {
            pair_accuracy: 100.0 * score.pair_accuracy.mean,
            patterns: score
                .patterns
                .iter()
                .map(|(name, i)| (name.clone(), 100.0 * i.mean))
                .collect(),
            intervals: bounds(parts.chain([("pair_accuracy".to_owned(), score.pair_accuracy)])),
            question_accuracy: 100.0 * score.question_accuracy.mean,
            unparseable: score.unparseable,
            pairs: score.pairs,
        }
    }
}

/// Descriptions of regions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// CIDEr-D, times 100 as papers print it.
    pub cider: f64,
    /// Share of descriptions that equal a reference, in percent.
    pub exact: f64,
    /// Intervals: `cider`, `exact`.
    pub intervals: BTreeMap<String, Bounds>,
}

impl Region {
    /// From CIDEr in the units of papers and a share as a fraction.
    pub fn new(cider: Interval, exact: Interval) -> Self {
        let exact = exact.percent();
        let finite = [("cider", cider), ("exact", exact)]
            .map(|(name, interval)| (name.to_owned(), interval.into()));
        Self {
            cider: cider.mean,
            exact: exact.mean,
            intervals: BTreeMap::from(finite),
        }
    }
}

/// Control: does the answer depend on the image? In percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShuffledImages {
    /// Accuracy on attribute questions with their own images.
    pub own: Interval,
    /// Accuracy with the images of other questions.
    pub shuffled: Interval,
}

/// Headline accuracies of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedResults {
    /// RobustVQA, mean of its sets.
    pub robust_vqa: f64,
    /// POPE, mean of its splits.
    pub pope: f64,
    /// MMVP pair accuracy.
    pub mmvp: f64,
}

/// Differences of two arms on the same questions, in percentage points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// RobustVQA, mean of its sets.
    pub robust_vqa: BenchmarkDifference,
    /// POPE, mean of its splits.
    pub pope: BenchmarkDifference,
    /// MMVP pair accuracy.
    pub mmvp: BenchmarkDifference,
}

/// Difference in one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkDifference {
    /// Mean with its interval over questions and seeds, and what it rests on.
    #[serde(flatten)]
    pub total: Difference,
    /// The same for each set, split or pattern.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Difference>,
}

impl From<Comparison> for BenchmarkDifference {
    /// From fractions to percentage points.
    fn from(comparison: Comparison) -> Self {
        let parts = comparison.parts.into_iter();
        Self {
            total: comparison.total.percent(),
            parts: parts.map(|(name, d)| (name, d.percent())).collect(),
        }
    }
}

/// Intervals of fractions as bounds in percent.
fn bounds(parts: impl Iterator<Item = (String, Interval)>) -> BTreeMap<String, Bounds> {
    parts
        .map(|(name, interval)| (name, interval.percent().into()))
        .collect()
}

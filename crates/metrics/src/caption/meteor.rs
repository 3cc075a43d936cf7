//! METEOR 1.5 for English (Denkowski & Lavie 2014): words are aligned, and the score is a recall-heavy mean of
//! precision and recall, less a penalty for fragmentation.
//!
//! Words match if they are equal, or have the same stem (Snowball). The original also matches WordNet synonyms and
//! paraphrases from tables of 70 MB that cannot be shipped here: give them to [`Lexicon`] for the published metric.
//! Without them scores are lower, the more so the freer the wording; say which was used, and never compare the two.

mod align;
mod lexicon;
mod normalize;
mod stats;

pub use lexicon::{Lexicon, vocabulary};

use align::Aligner;
use normalize::normalize;
use stats::Stats;

use super::Tokenized;

/// Scores captions with METEOR.
#[derive(Default)]
pub struct Meteor {
    aligner: Aligner,
}

/// METEOR of a set of captions.
#[derive(Debug, Clone, PartialEq)]
pub struct MeteorScores {
    /// Score of the whole, from counts that are summed over captions.
    pub corpus: f64,
    /// Score of each caption against its best reference.
    pub samples: Vec<f64>,
}

impl Meteor {
    /// Exact and stem matches only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also synonyms and paraphrases.
    #[must_use]
    pub fn with_lexicon(lexicon: Lexicon) -> Self {
        Self {
            aligner: Aligner::new(lexicon),
        }
    }

    /// METEOR of tokenised captions.
    #[must_use]
    pub fn score(&self, samples: &[Tokenized]) -> MeteorScores {
        let mut total = Stats::default();
        let samples = samples
            .iter()
            .map(|sample| {
                let best = self.best(sample);
                total.add(&best);
                best.score()
            })
            .collect();
        MeteorScores {
            corpus: total.score(),
            samples,
        }
    }

    /// Counts against the reference that gives the highest score, the first of equals.
    fn best(&self, sample: &Tokenized) -> Stats {
        let candidate = normalize(&sample.candidate);
        let mut best: Option<Stats> = None;
        for reference in &sample.references {
            let stats = self.aligner.align(&candidate, &normalize(reference));
            if best
                .as_ref()
                .is_none_or(|best| stats.score() > best.score())
            {
                best = Some(stats);
            }
        }
        best.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(candidate: &str, references: &[&str]) -> f64 {
        Meteor::new()
            .score(&[Tokenized::split(candidate, references)])
            .samples[0]
    }

    #[test]
    fn by_hand() {
        // 2 of 3 content and all of 3 function words: precision = recall = (0.75·3 + 0.25·2) / (0.75·3 + 0.25·3) = 11/12;
        // 2 chunks of 5 words: penalty 0.6 · 0.4^0.2.
        let expected = 11.0 / 12.0 * (1.0 - 0.6 * 0.4f64.powf(0.2));
        let value = score("the cat sat on the mat", &["the cat sat on a mat"]);
        assert!((value - expected).abs() < 1e-9, "{value} {expected}");
    }

    #[test]
    fn stems_count_for_less_than_words() {
        // One content word of weight 0.6 on both sides; a single run over both sentences has no penalty.
        let value = score("dogs", &["dog"]);
        assert!((value - 0.6).abs() < 1e-9, "{value}");
        assert_eq!(score("dog", &["dog"]), 1.0);
    }

    #[test]
    fn the_best_reference_counts_and_nothing_in_common_is_zero() {
        assert_eq!(score("a dog", &["two cats", "a dog"]), 1.0);
        assert_eq!(score("x", &["y"]), 0.0);
        assert_eq!(score("", &["y"]), 0.0);
    }
}

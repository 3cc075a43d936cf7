//! CIDEr (Vedantam et al. 2015): agreement with the references in the words that tell images apart.
//!
//! Word sequences weigh by how rare they are over the images of the corpus, so a caption's score depends on the other
//! references: score a whole test set at once, one run at a time. A corpus of one image scores 0 throughout.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Tokenized;
use super::ngrams::{ORDER, counts};

/// Which CIDEr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CiderVariant {
    /// CIDEr-D: counts clipped to the reference's, Gaussian penalty on the difference in length. This is what the COCO
    /// caption tools and nearly all papers print as "CIDEr".
    #[default]
    D,
    /// The plain cosine of the paper's main definition.
    Plain,
}

/// Standard deviation of the length penalty, in words.
const SIGMA: f64 = 6.0;

/// CIDEr of each caption, in [0, 10]; papers print 100 times the mean.
#[must_use]
pub fn cider(samples: &[Tokenized], variant: CiderVariant) -> Vec<f64> {
    let mut images: HashMap<&[String], usize> = HashMap::new();
    for sample in samples {
        let present: HashSet<&[String]> = sample
            .references
            .iter()
            .flat_map(|r| counts(r).into_keys())
            .collect();
        for sequence in present {
            *images.entry(sequence).or_default() += 1;
        }
    }
    let total = libm::log(samples.len() as f64);
    let rarity =
        |sequence: &[String]| total - libm::log(images.get(sequence).copied().unwrap_or(1) as f64);

    samples
        .iter()
        .map(|sample| {
            let candidate = Weighted::new(&sample.candidate, &rarity);
            let sum: f64 = sample
                .references
                .iter()
                .map(|reference| candidate.similarity(&Weighted::new(reference, &rarity), variant))
                .sum();
            10.0 * sum / sample.references.len().max(1) as f64
        })
        .collect()
}

/// A caption as vectors of word sequences, one vector for each length.
struct Weighted<'a> {
    weights: BTreeMap<&'a [String], f64>,
    norms: [f64; ORDER],
    /// Number of pairs of adjacent words: what the reference tool takes for the length.
    length: f64,
}

impl<'a> Weighted<'a> {
    fn new(words: &'a [String], rarity: &impl Fn(&[String]) -> f64) -> Self {
        let mut norms = [0.0; ORDER];
        let weights: BTreeMap<&[String], f64> = counts(words)
            .into_iter()
            .map(|(sequence, count)| (sequence, count as f64 * rarity(sequence)))
            .collect();
        for (sequence, weight) in &weights {
            norms[sequence.len() - 1] += weight * weight;
        }
        Self {
            weights,
            norms: norms.map(f64::sqrt),
            length: words.len().saturating_sub(1) as f64,
        }
    }

    /// Mean over the sequence lengths of the (clipped, penalised) cosine.
    fn similarity(&self, reference: &Self, variant: CiderVariant) -> f64 {
        let mut products = [0.0; ORDER];
        for (sequence, weight) in &self.weights {
            let Some(other) = reference.weights.get(sequence) else {
                continue;
            };
            products[sequence.len() - 1] += match variant {
                CiderVariant::D => weight.min(*other) * other,
                CiderVariant::Plain => weight * other,
            };
        }
        let penalty = match variant {
            CiderVariant::D => {
                libm::exp(-(self.length - reference.length).powi(2) / (2.0 * SIGMA * SIGMA))
            }
            CiderVariant::Plain => 1.0,
        };
        let cosine = |n: usize| {
            let norm = self.norms[n] * reference.norms[n];
            if norm > 0.0 { products[n] / norm } else { 0.0 }
        };
        (0..ORDER).map(cosine).sum::<f64>() / ORDER as f64 * penalty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_captions_score_ten_if_they_have_all_lengths() {
        let samples = [
            Tokenized::split("a red dog runs", &["a red dog runs"]),
            Tokenized::split("x", &["two cats sit here"]),
        ];
        for variant in [CiderVariant::D, CiderVariant::Plain] {
            let scores = cider(&samples, variant);
            assert!(
                (scores[0] - 10.0).abs() < 1e-12 && scores[1] == 0.0,
                "{scores:?}"
            );
        }
    }

    #[test]
    fn words_of_every_image_weigh_nothing() {
        let samples = [
            Tokenized::split("a", &["a dog"]),
            Tokenized::split("a", &["a cat"]),
        ];
        assert_eq!(cider(&samples, CiderVariant::D), [0.0, 0.0]);
    }

    #[test]
    fn d_clips_repetition_and_penalises_length() {
        // Reference "dog" against "dog dog": plain cosine of unigrams 1; clipped min(2, 1)·1 / (2·1) = 1/2,
        // times exp(−1 / 72) for one pair of words more. A quarter each, as only unigrams match.
        let samples = [
            Tokenized::split("dog dog", &["dog"]),
            Tokenized::split("cat", &["cat"]),
        ];
        let plain = cider(&samples, CiderVariant::Plain)[0];
        let clipped = cider(&samples, CiderVariant::D)[0];
        assert!((plain - 2.5).abs() < 1e-12, "{plain}");
        assert!(
            (clipped - 1.25 * (-1f64 / 72.0).exp()).abs() < 1e-12,
            "{clipped}"
        );
    }
}

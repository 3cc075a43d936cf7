//! BLEU-1 to BLEU-4 (Papineni et al. 2002), of a corpus and of single captions.

use super::Tokenized;
use super::ngrams::{Counts, ORDER, counts};

/// BLEU of a set of captions.
#[derive(Debug, Clone, PartialEq)]
pub struct Bleu {
    /// BLEU-1 to BLEU-4 of the whole: matches and lengths are summed before they are divided.
    pub corpus: [f64; 4],
    /// BLEU-1 to BLEU-4 of each caption.
    pub samples: Vec<[f64; 4]>,
}

#[derive(Default, Clone, Copy)]
struct Matches {
    /// Sequences of n words that a reference has too, and of all.
    found: [usize; ORDER],
    all: [usize; ORDER],
    length: usize,
    reference_length: usize,
}

impl Matches {
    fn of(sample: &Tokenized) -> Self {
        let length = sample.candidate.len();
        let mut most = Counts::new();
        for reference in &sample.references {
            for (sequence, count) in counts(reference) {
                let entry = most.entry(sequence).or_default();
                *entry = count.max(*entry);
            }
        }
        // The reference of the closest length; of two that are equally close, the shorter.
        let reference_length = sample
            .references
            .iter()
            .map(Vec::len)
            .min_by_key(|l| (l.abs_diff(length), *l))
            .unwrap_or(0);
        let mut matches = Self {
            length,
            reference_length,
            ..Self::default()
        };
        for n in 1..=ORDER {
            matches.all[n - 1] = (length + 1).saturating_sub(n);
        }
        for (sequence, count) in counts(&sample.candidate) {
            matches.found[sequence.len() - 1] +=
                count.min(most.get(sequence).copied().unwrap_or(0));
        }
        matches
    }

    fn add(&mut self, other: &Self) {
        for n in 0..ORDER {
            self.found[n] += other.found[n];
            self.all[n] += other.all[n];
        }
        self.length += other.length;
        self.reference_length += other.reference_length;
    }

    /// Geometric means of the precisions times the brevity penalty, with the reference tool's guards against zero.
    fn bleu(&self) -> [f64; 4] {
        const SMALL: f64 = 1e-9;
        const TINY: f64 = 1e-15;
        let ratio = (self.length as f64 + TINY) / (self.reference_length as f64 + SMALL);
        let brevity = if ratio < 1.0 {
            libm::exp(1.0 - 1.0 / ratio)
        } else {
            1.0
        };
        let mut product = 1.0;
        std::array::from_fn(|n| {
            product *= (self.found[n] as f64 + TINY) / (self.all[n] as f64 + SMALL);
            libm::pow(product, 1.0 / (n as f64 + 1.0)) * brevity
        })
    }
}

/// BLEU of tokenised captions.
#[must_use]
pub fn bleu(samples: &[Tokenized]) -> Bleu {
    let mut total = Matches::default();
    let samples = samples
        .iter()
        .map(|sample| {
            let matches = Matches::of(sample);
            total.add(&matches);
            matches.bleu()
        })
        .collect();
    Bleu {
        corpus: total.bleu(),
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(candidate: &str, references: &[&str]) -> Tokenized {
        Tokenized::split(candidate, references)
    }

    #[test]
    fn repeated_words_count_as_often_as_in_one_reference() {
        // Papineni's example: 2 of 7 unigrams, none of 6 bigrams.
        let scores = bleu(&[sample(
            "the the the the the the the",
            &["the cat is on the mat"],
        )]);
        assert!((scores.corpus[0] - 2.0 / 7.0).abs() < 1e-6, "{scores:?}");
        assert!(scores.corpus[1] < 1e-6);
    }

    #[test]
    fn short_captions_are_penalised() {
        // Unigrams 2/2, brevity exp(1 − 4/2); bigrams 1/1.
        let scores = bleu(&[sample("a cat", &["a cat sits here"])]);
        assert!((scores.corpus[0] - (-1f64).exp()).abs() < 1e-6);
        assert!((scores.corpus[1] - (-1f64).exp()).abs() < 1e-6);
    }

    #[test]
    fn the_corpus_sums_before_it_divides() {
        let scores = bleu(&[sample("a b", &["a b"]), sample("x y z w", &["a a a a"])]);
        assert!((scores.corpus[0] - 2.0 / 6.0).abs() < 1e-6);
        assert!((scores.samples[0][0] - 1.0).abs() < 1e-6 && scores.samples[1][0] < 1e-6);
    }
}

//! Counts of word sequences.

use std::collections::BTreeMap;

/// Longest sequence that is counted.
pub(super) const ORDER: usize = 4;

/// How often each sequence of 1 to 4 words occurs; ordered, so that sums over it are reproducible to the last bit.
pub(super) type Counts<'a> = BTreeMap<&'a [String], usize>;

pub(super) fn counts(words: &[String]) -> Counts<'_> {
    let mut counts = Counts::new();
    for n in 1..=ORDER {
        for sequence in words.windows(n) {
            *counts.entry(sequence).or_default() += 1;
        }
    }
    counts
}

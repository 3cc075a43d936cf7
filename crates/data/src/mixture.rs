//! Mixes sources by weight and shuffles finite ones, both as functions of the index.

use std::sync::Arc;

use crate::DataError;
use crate::dice::{Dice, hash};
use crate::sample::Sample;
use crate::source::Source;

/// Length of the pattern that repeats; weights are exact to one part in this.
const PERIOD: u64 = 1000;

/// Draws from several sources in exact proportion: a shuffled pattern of 1000 places repeats, and
/// each source is read in order, without gaps.
pub struct Mixture {
    parts: Vec<Arc<dyn Source>>,
    /// For each place of the pattern: source, and its rank among that source's places.
    pattern: Vec<(usize, u64)>,
    counts: Vec<u64>,
}

impl Mixture {
    /// A mixture of sources with weights.
    ///
    /// # Errors
    /// `Empty` with a source that is, `Config` without sources, and for weights that are negative or all zero.
    pub fn new(parts: Vec<(Arc<dyn Source>, f64)>, seed: u64) -> Result<Self, DataError> {
        if parts.is_empty() {
            let reason =
                "expected a list of sources, as [{ kind = \"captions\", … }], found an empty one";
            return Err(DataError::config("data", reason));
        }
        if let Some(entry) = parts.iter().position(|(source, _)| source.is_empty()) {
            return Err(DataError::Empty {
                what: format!("data[{entry}]"),
                hint: "every source needs a sample".into(),
            });
        }
        let total: f64 = parts.iter().map(|(_, w)| *w).sum();
        if parts.iter().any(|(_, w)| *w < 0.0 || !w.is_finite()) || total <= 0.0 {
            let weights: Vec<f64> = parts.iter().map(|(_, w)| *w).collect();
            return Err(DataError::config(
                "weights",
                format!("{weights:?} must be non-negative and not all zero"),
            ));
        }
        // Largest remainders, so that the counts add up.
        let shares: Vec<f64> = parts
            .iter()
            .map(|(_, w)| w / total * PERIOD as f64)
            .collect();
        let mut counts: Vec<u64> = shares.iter().map(|s| s.floor() as u64).collect();
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|a, b| shares[*b].fract().total_cmp(&shares[*a].fract()));
        let missing = PERIOD - counts.iter().sum::<u64>();
        order
            .iter()
            .cycle()
            .take(missing as usize)
            .for_each(|i| counts[*i] += 1);
        let mut places: Vec<usize> = counts
            .iter()
            .enumerate()
            .flat_map(|(i, n)| std::iter::repeat_n(i, *n as usize))
            .collect();
        Dice::new(seed, "mixture", 0).shuffle(&mut places);
        let mut seen = vec![0u64; counts.len()];
        let pattern = places
            .into_iter()
            .map(|part| {
                seen[part] += 1;
                (part, seen[part] - 1)
            })
            .collect();
        Ok(Self {
            parts: parts.into_iter().map(|(s, _)| s).collect(),
            pattern,
            counts,
        })
    }

    /// Which source, and which of its samples, stands at `index`.
    pub fn at(&self, index: u64) -> (usize, u64) {
        let (part, rank) = self.pattern[(index % PERIOD) as usize];
        (
            part,
            (index / PERIOD)
                .wrapping_mul(self.counts[part])
                .wrapping_add(rank),
        )
    }
}

impl Source for Mixture {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (part, own) = self.at(index);
        self.parts[part].get(own)
    }
}

/// A finite source in another random order each epoch; an endless one unchanged.
pub struct Shuffled {
    source: Arc<dyn Source>,
    seed: u64,
}

impl Shuffled {
    /// Shuffles a source.
    pub fn new(source: Arc<dyn Source>, seed: u64) -> Self {
        Self { source, seed }
    }

    /// Sample of the underlying source at `index`: a permutation within each epoch, `epoch * len + sample`.
    pub fn at(&self, index: u64) -> u64 {
        let Some(len) = self.source.len().filter(|n| *n > 1) else {
            return index;
        };
        let (epoch, place) = (index / len, index % len);
        let key = self.seed ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let sample = permute(place, len, key);
        match (index - place).checked_add(sample) {
            Some(at) => at,
            None => sample, // the last epoch that 64 bits count is cut off
        }
    }
}

impl Source for Shuffled {
    fn len(&self) -> Option<u64> {
        self.source.len()
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        self.source.get(self.at(index))
    }
}

/// A keyed permutation of `0..len`: four Feistel rounds on the smallest even number of bits, walked
/// until the value is in range.
fn permute(value: u64, len: u64, key: u64) -> u64 {
    let bits = (64 - (len - 1).leading_zeros()).max(2).div_ceil(2);
    let mask = (1u64 << bits) - 1;
    let mut value = value;
    loop {
        let (mut left, mut right) = (value >> bits, value & mask);
        for round in 0..4u64 {
            let mut bytes = [0u8; 24];
            bytes[..8].copy_from_slice(&right.to_le_bytes());
            bytes[8..16].copy_from_slice(&key.to_le_bytes());
            bytes[16..].copy_from_slice(&round.to_le_bytes());
            (left, right) = (right, left ^ (hash(&bytes) & mask));
        }
        value = (left << bits) | right;
        if value < len {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(u64);

    impl Source for Numbers {
        fn len(&self) -> Option<u64> {
            Some(self.0)
        }
        fn get(&self, index: u64) -> Result<Sample, DataError> {
            Ok(Sample {
                id: (index % self.0).to_string(),
                ..Sample::default()
            })
        }
    }

    #[test]
    fn a_mixture_is_exact_and_reads_each_source_in_order() {
        let parts: Vec<(Arc<dyn Source>, f64)> = vec![
            (Arc::new(Numbers(7)), 2.0),
            (Arc::new(Numbers(9)), 1.0),
            (Arc::new(Numbers(1)), 0.0),
        ];
        let mixture = Mixture::new(parts, 3).unwrap();
        let mut next = [0u64; 3];
        for index in 0..3000 {
            let (part, own) = mixture.at(index);
            assert_eq!(own, next[part], "gap in source {part}");
            next[part] += 1;
        }
        assert_eq!(next, [2001, 999, 0]);
        assert!(Mixture::new(vec![], 0).is_err());
        assert!(Mixture::new(vec![(Arc::new(Numbers(1)), -1.0)], 0).is_err());
        assert!(Mixture::new(vec![(Arc::new(Numbers(0)), 1.0)], 0).is_err());
    }

    #[test]
    fn each_epoch_is_another_permutation() {
        for len in [1u64, 2, 3, 10, 64, 100] {
            let shuffled = Shuffled::new(Arc::new(Numbers(len)), 5);
            let epoch = |e: u64| {
                (0..len)
                    .map(|i| shuffled.at(e * len + i) % len)
                    .collect::<Vec<_>>()
            };
            for e in 0..3 {
                let mut sorted = epoch(e);
                sorted.sort_unstable();
                assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            }
            if len >= 10 {
                assert_ne!(epoch(0), epoch(1));
                assert_ne!(epoch(0), (0..len).collect::<Vec<_>>());
            }
        }
    }
}

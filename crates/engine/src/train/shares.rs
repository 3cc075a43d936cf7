//! What a part of a step weighs. A term of the loss is the mean over all of a step's values (tokens, pictures), not the
//! mean of its micro-batches' means: rows of different lengths would weigh differently in different micro-batches.

use std::collections::BTreeMap;

/// How many values each term of a loss averages over, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts(BTreeMap<&'static str, f64>);

impl Counts {
    /// Counts of terms.
    pub fn of<const N: usize>(terms: [(&'static str, f64); N]) -> Self {
        Self(terms.into())
    }

    /// Adds those of another part.
    pub fn add(&mut self, other: &Self) {
        for (term, count) in &other.0 {
            *self.0.entry(term).or_default() += count;
        }
    }

    /// The counts, by name in order.
    pub fn values(&self) -> Vec<f64> {
        self.0.values().copied().collect()
    }

    /// The same terms with other counts, in the order of [`Self::values`].
    #[must_use]
    pub fn with_values(&self, values: &[f64]) -> Self {
        Self(self.0.keys().copied().zip(values.iter().copied()).collect())
    }
}

/// What part of a step's mean the mean of one part is, for each term.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    shares: BTreeMap<&'static str, f64>,
    rest: f64,
}

impl Shares {
    /// Of a part that is the whole step.
    pub fn whole() -> Self {
        Self {
            shares: BTreeMap::new(),
            rest: 1.0,
        }
    }

    /// Of a part with these counts, out of a step's; terms that are not counted weigh the same in each of `parts`.
    pub fn new(part: &Counts, step: &Counts, parts: u64) -> Self {
        let shares = part.0.iter().map(|(term, count)| {
            let all = step.0.get(term).copied().unwrap_or_default();
            (*term, if all > 0.0 { count / all } else { 1.0 })
        });
        Self {
            shares: shares.collect(),
            rest: 1.0 / parts as f64,
        }
    }

    /// That of a term.
    pub fn of(&self, term: &str) -> f64 {
        self.shares.get(term).copied().unwrap_or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_weighs_as_much_as_it_has_values() {
        let (short, long) = (Counts::of([("text", 3.0)]), Counts::of([("text", 9.0)]));
        let mut step = short.clone();
        step.add(&long);
        assert_eq!(Shares::new(&short, &step, 2).of("text"), 0.25);
        assert_eq!(Shares::new(&long, &step, 2).of("text"), 0.75);
        assert_eq!(Shares::new(&long, &step, 2).of("align"), 0.5);
        assert_eq!(Shares::new(&long, &long, 1).of("text"), 1.0);
        let nothing = Counts::of([("text", 0.0)]);
        assert_eq!(Shares::new(&nothing, &nothing, 1).of("text"), 1.0);
    }
}

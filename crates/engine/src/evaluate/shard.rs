//! A share of the questions, for several processes that answer one evaluation together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Share `index` (from 1) of `of`.
///
/// Whole batches go to one process or another: the same questions share a batch whoever asks them, so answers are those
/// of a single process to the last digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// All questions.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Share `index` of `of`; nothing unless `1 <= index <= of`.
    #[must_use]
    pub fn new(index: usize, of: usize) -> Option<Self> {
        (1..=of).contains(&index).then_some(Self { index, of })
    }

    /// Whether batch `number` (from 0) is this process's.
    pub fn has(self, number: usize) -> bool {
        number % self.of == self.index - 1
    }

    /// Whether there are others.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// For names of files: nothing for all questions, else `-1-of-4`.
    pub(crate) fn suffix(self) -> String {
        if self.is_whole() {
            String::new()
        } else {
            format!("-{}-of-{}", self.index, self.of)
        }
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let shard = numbers.and_then(|(index, of)| Self::new(index, of));
        shard.ok_or_else(|| format!("expected i/n with 1 <= i <= n, as 1/4, found {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_belongs_to_one_share() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|s| s.parse().unwrap()).to_vec();
        for number in 0..9 {
            assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
        }
        assert!((0..9).all(|number| Shard::WHOLE.has(number)));
        assert_eq!(
            (shards[1].suffix().as_str(), Shard::WHOLE.suffix().as_str()),
            ("-2-of-3", "")
        );
        for bad in ["0/3", "4/3", "1", "a/b", "1/0", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad:?}");
        }
    }
}

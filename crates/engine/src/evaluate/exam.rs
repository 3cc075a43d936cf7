//! A benchmark with its questions.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use deem_data::benchmark::Item;
use deem_data::image::ImageLimits;

use super::Benchmark;
use crate::EngineError;

/// A benchmark with the questions to be asked.
#[derive(Clone)]
pub struct Exam {
    /// The benchmark.
    pub benchmark: Arc<dyn Benchmark>,
    /// Its questions, part by part.
    pub items: Vec<Item>,
}

impl Exam {
    /// All questions of a folder.
    ///
    /// # Errors
    /// Those of [`Benchmark::read`].
    pub fn read(
        benchmark: &Arc<dyn Benchmark>,
        folder: &Path,
        limits: ImageLimits,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            items: benchmark.read(folder, limits)?,
            benchmark: benchmark.clone(),
        })
    }

    /// Names of the parts, in order.
    pub fn parts(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = Vec::new();
        for item in &self.items {
            if !parts.contains(&item.part.as_str()) {
                parts.push(&item.part);
            }
        }
        parts
    }

    /// The first `limit` questions, taken from all parts in turn. Questions that are worth something only together stay
    /// so: the number is rounded up to whole pairs. A larger limit asks the same questions and more.
    #[must_use]
    pub fn limited(&self, limit: usize) -> Self {
        let parts = self.parts();
        let mut of_part: HashMap<&str, Vec<&Item>> = HashMap::new();
        for item in &self.items {
            of_part.entry(&item.part).or_default().push(item);
        }
        let mut kept: HashMap<&str, usize> = HashMap::new();
        let mut total = 0;
        while total < limit.min(self.items.len()) {
            for part in &parts {
                let kept = kept.entry(part).or_default();
                let rest = &of_part[part][*kept..];
                let Some(first) = rest.first().filter(|_| total < limit) else {
                    continue;
                };
                let more = self.benchmark.together(first).clamp(1, rest.len());
                *kept += more;
                total += more;
            }
        }
        let mut left = kept.clone();
        let keep = |item: &&Item| match left.get_mut(item.part.as_str()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        Self {
            benchmark: self.benchmark.clone(),
            items: self.items.iter().filter(keep).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use deem_data::benchmark::Picture;

    use super::*;
    use crate::evaluate::{Pope, RobustVqa};

    fn exam(benchmark: Arc<dyn Benchmark>, parts: &[(&str, usize)]) -> Exam {
        let item = |part: &str, number: usize| {
            Item::new(number.to_string(), part, Picture::File("1.png".into()))
        };
        let items = parts
            .iter()
            .flat_map(|(part, count)| (0..*count).map(move |number| item(part, number)));
        Exam {
            benchmark,
            items: items.collect(),
        }
    }

    fn kept(exam: &Exam, limit: usize) -> Vec<String> {
        let limited = exam.limited(limit);
        let items = limited.items.iter();
        items.map(|i| format!("{}{}", i.part, i.id)).collect()
    }

    #[test]
    fn a_limit_takes_from_all_parts_in_turn() {
        let pope = exam(Arc::new(Pope), &[("a", 3), ("b", 1), ("c", 3)]);
        assert_eq!(kept(&pope, 2), ["a0", "b0"]);
        assert_eq!(kept(&pope, 5), ["a0", "a1", "b0", "c0", "c1"]);
        assert_eq!(kept(&pope, 99).len(), 7);
        assert_eq!(kept(&pope, 0).len(), 0);
    }

    #[test]
    fn pairs_stay_together() {
        let robust = exam(Arc::new(RobustVqa), &[("A", 4), ("R", 4)]);
        assert_eq!(kept(&robust, 1), ["A0", "A1"]);
        assert_eq!(kept(&robust, 6), ["A0", "A1", "A2", "A3", "R0", "R1"]);
    }
}

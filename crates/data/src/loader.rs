//! Makes batches, each a function of its step only, so that any number of threads can make them ahead of time.
//!
//! Batch number `step` reads the sample indices from `step * batch * samples_per_row` on. A sample that
//! cannot be read is counted with its cause and replaced by one from a far range of indices; too many of
//! them stop the run. One that a rule leaves out is replaced and counted, too, but is no failure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::batch::{Batch, Collator};
use crate::sample::Sample;
use crate::source::Source;
use crate::text::TextTokenizer;

/// Settings of a loader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Rows of a batch.
    pub batch: usize,
    /// Samples offered to each row; what does not fit is left out.
    pub samples_per_row: usize,
    /// Largest share of samples that may be unreadable.
    pub error_ceiling: f64,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch: 16,
            samples_per_row: 1,
            error_ceiling: 0.01,
        }
    }
}

/// Samples read and failed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderStats {
    /// Samples asked for.
    pub read: u64,
    /// Samples that failed.
    pub skipped: u64,
    /// Failures by kind.
    pub causes: BTreeMap<&'static str, u64>,
    /// Samples that rules left out, by rule.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The first messages.
    pub examples: Vec<String>,
    /// Failures by number of the batch's first row, where there were any.
    pub by_row: BTreeMap<u64, u64>,
}

/// Samples read before the ceiling applies, so that one early failure does not stop a run.
const GRACE: u64 = 200;
/// Failures in the place of one sample, after which there is none.
const FAILURES: u64 = 8;
/// Samples tried in the place of one; a rule may leave out most of a set.
const ATTEMPTS: u64 = 1000;
const MAX_EXAMPLES: usize = 8;

/// Batch `step` of a source as a pure function of `step`, from any thread.
#[derive(Clone)]
pub struct Batches {
    source: Arc<dyn Source>,
    collator: Arc<Collator>,
    config: LoaderConfig,
    stats: Arc<Mutex<LoaderStats>>,
}

impl Batches {
    /// Batches of a source.
    ///
    /// # Errors
    /// `Config` for a batch or row of 0 samples; `Empty` for an empty source.
    pub fn new(
        source: Arc<dyn Source>,
        collator: Collator,
        config: LoaderConfig,
    ) -> Result<Self, DataError> {
        for (field, value) in [
            ("batch", config.batch),
            ("samples_per_row", config.samples_per_row),
        ] {
            if value == 0 {
                return Err(DataError::config(
                    format!("loader.{field}"),
                    "must be at least 1",
                ));
            }
        }
        collator.config().views.check()?;
        if source.is_empty() {
            return Err(DataError::Empty {
                what: "data set".into(),
                hint: "check its path and filters".into(),
            });
        }
        Ok(Self {
            source,
            collator: Arc::new(collator),
            config,
            stats: Arc::default(),
        })
    }

    /// Samples read and failed so far, those of batches made ahead included.
    pub fn stats(&self) -> LoaderStats {
        self.counted().clone()
    }

    /// Rows of a batch.
    pub fn rows(&self) -> usize {
        self.config.batch
    }

    /// Samples that could not be read when the batch with this first row was made the last time, and were replaced.
    pub fn skipped(&self, first_row: u64) -> u64 {
        self.counted().by_row.get(&first_row).copied().unwrap_or(0)
    }

    /// What turns text to tokens.
    pub fn tokenizer(&self) -> &TextTokenizer {
        self.collator.tokenizer()
    }

    fn counted(&self) -> MutexGuard<'_, LoaderStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batch number `step`.
    ///
    /// # Errors
    /// `TooManyBadRecords` above the ceiling, or what keeps the batch from being made.
    pub fn get(&self, step: u64) -> Result<Batch, DataError> {
        self.of_rows(step * self.config.batch as u64, self.config.batch)
    }

    /// A batch of `count` rows of the run, from `first_row` on.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn of_rows(&self, first_row: u64, count: usize) -> Result<Batch, DataError> {
        let row = self.config.samples_per_row;
        let first = first_row * row as u64;
        self.counted().by_row.remove(&first_row);
        let samples: Vec<Sample> = (0..(count * row) as u64)
            .map(|i| self.sample(first_row, first + i))
            .collect::<Result<_, _>>()?;
        self.collator
            .draws(&samples.chunks(row).collect::<Vec<_>>(), first)
    }

    fn sample(&self, first_row: u64, index: u64) -> Result<Sample, DataError> {
        let mut failures = 0;
        for attempt in 0..ATTEMPTS {
            // Substitutes come from indices that no step reaches.
            let result = self
                .source
                .get(index.wrapping_add(attempt << 48).wrapping_add(attempt));
            let mut stats = self.counted();
            stats.read += 1;
            match result {
                Ok(sample) => return Ok(sample),
                Err(DataError::Dropped { rule, .. }) => {
                    *stats.dropped.entry(rule).or_default() += 1;
                }
                Err(error) => {
                    *stats.by_row.entry(first_row).or_default() += 1;
                    stats.fail(index, &error, self.config.error_ceiling)?;
                    failures += 1;
                }
            }
            if failures == FAILURES {
                break;
            }
        }
        let hint = if failures == FAILURES {
            format!("{FAILURES} samples in its place could not be read")
        } else {
            format!("rules left out nearly all of {ATTEMPTS} samples in its place")
        };
        Err(DataError::Empty {
            what: format!("surroundings of sample {index}"),
            hint,
        })
    }
}

impl LoaderStats {
    fn fail(&mut self, index: u64, error: &DataError, ceiling: f64) -> Result<(), DataError> {
        self.skipped += 1;
        *self.causes.entry(error.kind()).or_default() += 1;
        tracing::warn!(index, %error, "sample skipped");
        let message = error.to_string();
        if self.examples.len() < MAX_EXAMPLES && !self.examples.contains(&message) {
            self.examples.push(message);
        }
        if self.skipped as f64 > ceiling * self.read.max(GRACE) as f64 {
            let causes: Vec<String> = self
                .causes
                .iter()
                .map(|(k, n)| format!("{k} ({n})"))
                .collect();
            return Err(DataError::TooManyBadRecords {
                skipped: self.skipped,
                read: self.read,
                ceiling: ceiling * 100.0,
                causes: format!("{}; first: {}", causes.join(", "), self.examples.join("; ")),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchConfig, Padding};
    use crate::image::{Crop, ViewConfig};
    use crate::pack::PackConfig;
    use crate::sample::Segment;
    use crate::text::TextTokenizer;

    struct Words {
        every_bad: u64,
    }

    impl Source for Words {
        fn len(&self) -> Option<u64> {
            None
        }
        fn get(&self, index: u64) -> Result<Sample, DataError> {
            if index % self.every_bad == self.every_bad - 1 {
                return Err(DataError::Image {
                    name: format!("{index}.png"),
                    reason: "broken".into(),
                });
            }
            let text = ["cat", "dog", "bus"][(index % 3) as usize].to_owned();
            Ok(Sample {
                id: index.to_string(),
                segments: vec![Segment::Text {
                    text,
                    counted: true,
                }],
                ..Sample::default()
            })
        }
    }

    fn words(every_bad: u64) -> Arc<dyn Source> {
        Arc::new(Words { every_bad })
    }

    fn collator() -> Collator {
        let config = BatchConfig {
            pack: PackConfig {
                max_tokens: 8,
                image_tokens: 1,
                count_first_image: false,
            },
            views: ViewConfig {
                encoder: 2,
                diffusion: 0,
                crop: Crop::Center,
            },
            padding: Padding::Right,
            fixed_length: None,
            seed: 0,
        };
        Collator::new(config, TextTokenizer::builtin().unwrap())
    }

    fn batches(source: Arc<dyn Source>, error_ceiling: f64) -> Batches {
        let config = LoaderConfig {
            batch: 3,
            samples_per_row: 2,
            error_ceiling,
        };
        Batches::new(source, collator(), config).unwrap()
    }

    #[test]
    fn a_batch_is_a_function_of_its_step() {
        let batches = batches(words(u64::MAX), 0.0);
        let batch = batches.get(1).unwrap();
        assert_eq!(batch.ids, ["6", "7", "8", "9", "10", "11"]);
        batches.get(5).unwrap();
        assert_eq!(batches.get(1).unwrap(), batch);
    }

    /// Nine of ten samples are left out by a rule.
    struct Picky;

    impl Source for Picky {
        fn len(&self) -> Option<u64> {
            None
        }
        fn get(&self, index: u64) -> Result<Sample, DataError> {
            if !crate::dice::hash(&index.to_le_bytes()).is_multiple_of(10) {
                return Err(DataError::Dropped {
                    name: index.to_string(),
                    rule: "caption too short",
                });
            }
            Words {
                every_bad: u64::MAX,
            }
            .get(index)
        }
    }

    #[test]
    fn what_a_rule_leaves_out_is_counted_and_no_failure() {
        let batches = batches(Arc::new(Picky), 0.0);
        for step in 0..20 {
            assert_eq!(batches.get(step).unwrap().ids.len(), 6);
        }
        let stats = batches.stats();
        assert_eq!(stats.skipped, 0);
        assert!(stats.dropped["caption too short"] > 500, "{stats:?}");
        assert_eq!(stats.read, 120 + stats.dropped["caption too short"]);
    }

    #[test]
    fn bad_samples_are_counted_replaced_and_stopped_at_the_ceiling() {
        let tolerant = batches(words(10), 0.5);
        let all: Vec<Batch> = (0..10).map(|step| tolerant.get(step).unwrap()).collect();
        assert!(all.iter().all(|b| b.ids.len() == 6));
        let stats = tolerant.stats();
        assert!(
            stats.skipped >= 5 && stats.causes["undecodable picture"] == stats.skipped,
            "{stats:?}"
        );
        assert!(stats.examples[0].contains("9.png"));
        // Sample 9 is in batch 1; making a batch again counts it once.
        let rows = tolerant.rows() as u64;
        assert_eq!(
            [0, 1, 2].map(|step| tolerant.skipped(step * rows)),
            [0, 1, 0]
        );
        assert_eq!(tolerant.get(1).unwrap(), all[1]);
        assert_eq!(tolerant.skipped(rows), 1);
        let strict = batches(words(10), 0.01);
        let error = (0..100).find_map(|step| strict.get(step).err());
        let error = error.unwrap().to_string();
        assert!(
            error.contains("undecodable picture") && error.contains("1.0 %"),
            "{error}"
        );
    }
}

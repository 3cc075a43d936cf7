//! Makes batches ahead of time in background threads, in an order that depends on the step only.
//!
//! Batch number `step` reads the sample indices from `step * batch * samples_per_row` on. A sample that
//! cannot be read is counted with its cause and replaced by one from a far range of indices; too many of
//! them stop the run. One that a rule leaves out is replaced and counted, too, but is no failure.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::batch::{Batch, Collator};
use crate::sample::Sample;
use crate::source::Source;

/// Settings of a loader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Rows of a batch.
    pub batch: usize,
    /// Samples offered to each row; what does not fit is left out.
    pub samples_per_row: usize,
    /// First step: 0, or where a run resumes.
    pub start: u64,
    /// Background threads.
    pub threads: usize,
    /// Batches that each thread makes ahead.
    pub prefetch: usize,
    /// Largest share of samples that may be unreadable.
    pub error_ceiling: f64,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch: 16,
            samples_per_row: 1,
            start: 0,
            threads: 1,
            prefetch: 2,
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
}

/// Samples read before the ceiling applies, so that one early failure does not stop a run.
const GRACE: u64 = 200;
/// Failures in the place of one sample, after which there is none.
const FAILURES: u64 = 8;
/// Samples tried in the place of one; a rule may leave out most of a set.
const ATTEMPTS: u64 = 1000;
const MAX_EXAMPLES: usize = 8;

/// An iterator over batches. Dropping it ends its threads.
pub struct Loader {
    receivers: Vec<Receiver<Result<Batch, DataError>>>,
    threads: Vec<JoinHandle<()>>,
    stats: Arc<Mutex<LoaderStats>>,
    next: usize,
    step: u64,
}

/// Batch `step` of a source as a pure function of `step`; what a [`Loader`]'s threads run.
#[derive(Clone)]
pub struct Batches {
    source: Arc<dyn Source>,
    collator: Arc<Collator>,
    config: LoaderConfig,
    stats: Arc<Mutex<LoaderStats>>,
}

impl Loader {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Config` for a batch, row or thread count of 0; `Empty` for an empty source; `Io` if a thread
    /// cannot be started.
    pub fn new(
        source: Arc<dyn Source>,
        collator: Collator,
        config: LoaderConfig,
    ) -> Result<Self, DataError> {
        let work = Batches::new(source, collator, config)?;
        let (config, stats) = (work.config.clone(), work.stats.clone());
        let (mut receivers, mut threads) = (Vec::new(), Vec::new());
        for thread in 0..config.threads {
            let work = work.clone();
            let (sender, receiver) = sync_channel(config.prefetch.max(1));
            receivers.push(receiver);
            let name = format!("loader-{thread}");
            let handle = std::thread::Builder::new()
                .name(name.clone())
                .spawn(move || work.run(thread as u64, &sender))
                .map_err(|e| DataError::io(name, e))?;
            threads.push(handle);
        }
        Ok(Self {
            receivers,
            threads,
            stats,
            next: 0,
            step: config.start,
        })
    }

    /// Samples read and failed so far, those of batches made ahead included.
    pub fn stats(&self) -> LoaderStats {
        self.stats.lock().map(|s| s.clone()).unwrap_or_default()
    }

    /// Step of the batch that comes next.
    pub fn step(&self) -> u64 {
        self.step
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    /// The next batch; `None` after an error has been returned.
    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.receivers.get(self.next)?.recv().ok()?;
        self.next = (self.next + 1) % self.receivers.len();
        if batch.is_ok() {
            self.step += 1;
        } else {
            self.receivers.clear();
        }
        Some(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Threads notice the closed channel at their next batch.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a loader thread panicked");
            }
        }
    }
}

impl Batches {
    /// Batches of a source; `start`, `threads` and `prefetch` of the configuration are for a [`Loader`].
    ///
    /// # Errors
    /// `Config` for a batch, row or thread count of 0; `Empty` for an empty source.
    pub fn new(
        source: Arc<dyn Source>,
        collator: Collator,
        config: LoaderConfig,
    ) -> Result<Self, DataError> {
        for (field, value) in [
            ("batch", config.batch),
            ("samples_per_row", config.samples_per_row),
            ("threads", config.threads),
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

    /// Samples read and failed so far.
    pub fn stats(&self) -> LoaderStats {
        self.stats.lock().map(|s| s.clone()).unwrap_or_default()
    }

    fn run(&self, thread: u64, sender: &SyncSender<Result<Batch, DataError>>) {
        let mut step = self.config.start + thread;
        loop {
            let batch = self.get(step);
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
            step += self.config.threads as u64;
        }
    }

    /// Batch number `step`.
    ///
    /// # Errors
    /// `TooManyBadRecords` above the ceiling, or what keeps the batch from being made.
    pub fn get(&self, step: u64) -> Result<Batch, DataError> {
        let row = self.config.samples_per_row;
        let first = step * (self.config.batch * row) as u64;
        let samples: Vec<Sample> = (0..(self.config.batch * row) as u64)
            .map(|i| self.sample(first + i))
            .collect::<Result<_, _>>()?;
        self.collator
            .draws(&samples.chunks(row).collect::<Vec<_>>(), first)
    }

    fn sample(&self, index: u64) -> Result<Sample, DataError> {
        let mut failures = 0;
        for attempt in 0..ATTEMPTS {
            // Substitutes come from indices that no step reaches.
            let result = self
                .source
                .get(index.wrapping_add(attempt << 48).wrapping_add(attempt));
            let mut stats = match self.stats.lock() {
                Ok(stats) => stats,
                Err(poisoned) => poisoned.into_inner(),
            };
            stats.read += 1;
            match result {
                Ok(sample) => return Ok(sample),
                Err(DataError::Dropped { rule, .. }) => {
                    *stats.dropped.entry(rule).or_default() += 1;
                }
                Err(error) => {
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
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(error.to_string());
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
            ..LoaderConfig::default()
        };
        Batches::new(source, collator(), config).unwrap()
    }

    fn loader(threads: usize, start: u64, every_bad: u64, error_ceiling: f64) -> Loader {
        let config = LoaderConfig {
            batch: 3,
            samples_per_row: 2,
            start,
            threads,
            prefetch: 1,
            error_ceiling,
        };
        Loader::new(Arc::new(Words { every_bad }), collator(), config).unwrap()
    }

    #[test]
    fn order_does_not_depend_on_threads_and_resumes() {
        let all: Vec<Batch> = loader(1, 0, u64::MAX, 0.0)
            .take(7)
            .map(Result::unwrap)
            .collect();
        assert_eq!(all[1].ids, ["6", "7", "8", "9", "10", "11"]);
        let three: Vec<Batch> = loader(3, 0, u64::MAX, 0.0)
            .take(7)
            .map(Result::unwrap)
            .collect();
        assert_eq!(all, three);
        let mut resumed = loader(2, 4, u64::MAX, 0.0);
        assert_eq!(resumed.step(), 4);
        assert_eq!(resumed.next().unwrap().unwrap(), all[4]);
        assert_eq!(resumed.step(), 5);
    }

    /// Nine of ten samples are left out by a rule.
    struct Picky;

    impl Source for Picky {
        fn len(&self) -> Option<u64> {
            None
        }
        fn get(&self, index: u64) -> Result<Sample, DataError> {
            if crate::dice::hash(&index.to_le_bytes()) % 10 > 0 {
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
        let mut tolerant = loader(1, 0, 10, 0.5);
        let batches: Vec<Batch> = tolerant.by_ref().take(10).map(Result::unwrap).collect();
        assert!(batches.iter().all(|b| b.ids.len() == 6));
        let stats = tolerant.stats();
        assert!(
            stats.skipped >= 5 && stats.causes["undecodable picture"] == stats.skipped,
            "{stats:?}"
        );
        assert!(stats.examples[0].contains("9.png"));
        let mut strict = loader(1, 0, 10, 0.01);
        let error = strict.by_ref().find_map(Result::err).unwrap().to_string();
        assert!(
            error.contains("undecodable picture") && error.contains("1.0 %"),
            "{error}"
        );
        assert!(strict.next().is_none());
        let again: Vec<Batch> = loader(2, 0, 10, 0.5).take(10).map(Result::unwrap).collect();
        assert_eq!(batches, again);
    }
}

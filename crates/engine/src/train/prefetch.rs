//! Batches made ahead of time by several threads, in an order that depends on the index only.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::EngineError;

/// Batches that each worker makes ahead.
const AHEAD: usize = 2;

/// The results of a function of an index, in order. Worker `w` of `n` makes those of every `n`th index from `w`
/// on, so that whoever is slow, the next one is always the same worker's. Dropping it ends the workers.
pub(super) struct Prefetch<B> {
    receivers: Vec<Receiver<Result<B, EngineError>>>,
    next: usize,
}

impl<B: Send> Prefetch<B> {
    /// Starts `workers` threads that call `make` for every index in `range`, up to the first error.
    pub fn start<'scope, F>(
        scope: &'scope Scope<'scope, '_>,
        range: Range<u64>,
        workers: usize,
        make: F,
    ) -> Self
    where
        B: 'scope,
        F: Fn(u64) -> Result<B, EngineError> + Copy + Send + 'scope,
    {
        let receivers = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let indices = range.clone().skip(worker).step_by(workers);
                scope.spawn(move || {
                    for index in indices {
                        let batch = make(index);
                        let failed = batch.is_err();
                        if sender.send(batch).is_err() || failed {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        Self { receivers, next: 0 }
    }

    /// The next result.
    ///
    /// # Errors
    /// That of `make`.
    ///
    /// # Panics
    /// Beyond the range, and after an error.
    pub fn next(&mut self) -> Result<B, EngineError> {
        let receiver = &self.receivers[self.next];
        self.next = (self.next + 1) % self.receivers.len();
        receiver
            .recv()
            .expect("a worker sends every index of its share, or an error")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn made(range: Range<u64>, workers: usize, count: usize) -> Vec<Result<u64, String>> {
        // Later indices are ready first.
        let make = |index: u64| {
            std::thread::sleep(Duration::from_millis(20_u64.saturating_sub(index)));
            match index {
                9 => Err(EngineError::Config(format!("index {index}"))),
                _ => Ok(index),
            }
        };
        std::thread::scope(|scope| {
            let mut prefetch = Prefetch::start(scope, range, workers, make);
            (0..count)
                .map(|_| prefetch.next().map_err(|error| error.to_string()))
                .collect()
        })
    }

    #[test]
    fn order_and_resuming_do_not_depend_on_the_number_of_workers() {
        let all: Vec<_> = (0..8).map(Ok).collect();
        for workers in [1, 2, 3, 16] {
            assert_eq!(made(0..8, workers, 8), all, "{workers}");
            assert_eq!(made(3..8, workers, 5), all[3..], "{workers}");
        }
    }

    #[test]
    fn an_error_comes_in_its_turn() {
        for workers in [1, 2, 3] {
            let results = made(6..100, workers, 4);
            assert_eq!(results[..3], [Ok(6), Ok(7), Ok(8)]);
            assert_eq!(results[3], Err("configuration: index 9".into()));
        }
    }
}

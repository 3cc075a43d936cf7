//! Processes that are threads of one program, to try what several do without starting them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{Collective, CollectiveError, Traffic};

/// One of several threads that exchange as processes do.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    hall: Arc<Hall>,
    traffic: Mutex<Traffic>,
}

/// Where they meet.
#[derive(Debug)]
struct Hall {
    size: usize,
    state: Mutex<Meeting>,
    changed: Condvar,
}

#[derive(Debug)]
struct Meeting {
    /// What has been brought to this exchange: for each rank, a part for each rank.
    brought: Vec<Option<Vec<Vec<u8>>>>,
    /// How many have not yet taken theirs.
    left: usize,
    aborted: Option<(usize, String)>,
}

impl Threads {
    /// As many as there are to be, by rank.
    pub fn team(size: usize) -> Vec<Self> {
        let hall = Arc::new(Hall {
            size,
            state: Mutex::new(Meeting {
                brought: vec![None; size],
                left: 0,
                aborted: None,
            }),
            changed: Condvar::new(),
        });
        let member = |rank| Self {
            rank,
            hall: hall.clone(),
            traffic: Mutex::default(),
        };
        (0..size).map(member).collect()
    }

    fn state(&self) -> MutexGuard<'_, Meeting> {
        let state = self.hall.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, Meeting>,
        ready: impl Fn(&Meeting) -> bool,
    ) -> Result<MutexGuard<'a, Meeting>, CollectiveError> {
        loop {
            if let Some((rank, reason)) = &state.aborted {
                return Err(CollectiveError::Aborted {
                    rank: *rank,
                    size: self.hall.size,
                    reason: reason.clone(),
                });
            }
            if ready(&state) {
                return Ok(state);
            }
            let waited = self.hall.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hall.size
    }

    fn host(&self) -> String {
        "this machine".into()
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let size = self.hall.size;
        assert_eq!(parts.len(), size, "a part for each process");
        let started = Instant::now();
        // The exchange before must be over.
        let mut state = self.wait(self.state(), |meeting| meeting.left == 0)?;
        state.brought[self.rank] = Some(parts.iter().map(|part| part.to_vec()).collect());
        if state.brought.iter().all(Option::is_some) {
            state.left = size;
            self.hall.changed.notify_all();
        }
        let mut state = self.wait(state, |meeting| meeting.left > 0)?;
        let taken = state.brought.iter();
        let taken = taken.map(|parts| {
            parts
                .as_ref()
                .map_or_else(Vec::new, |p| p[self.rank].clone())
        });
        let taken = taken.collect();
        state.left -= 1;
        if state.left == 0 {
            state.brought.fill(None);
            self.hall.changed.notify_all();
        }
        drop(state);
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = parts.iter().enumerate().filter(|(to, _)| *to != self.rank);
        traffic.bytes += sent.map(|(_, part)| part.len() as u64).sum::<u64>();
        traffic.time += started.elapsed();
        Ok(taken)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.all_to_all(&vec![own; self.hall.size])
    }

    fn abort(&self, reason: &str) {
        let mut state = self.state();
        state.aborted.get_or_insert((self.rank, reason.into()));
        self.hall.changed.notify_all();
    }

    fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_what_was_meant_for_it_many_times_over() {
        std::thread::scope(|scope| {
            for member in Threads::team(3) {
                scope.spawn(move || {
                    for round in 0..200_u8 {
                        let rank = member.rank() as u8;
                        let parts: Vec<Vec<u8>> = (0..3).map(|to| vec![round, rank, to]).collect();
                        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                        let expected: Vec<Vec<u8>> =
                            (0..3).map(|from| vec![round, from, rank]).collect();
                        assert_eq!(member.all_to_all(&parts).unwrap(), expected);
                        assert_eq!(member.all_gather(&[rank]).unwrap(), [[0], [1], [2]]);
                    }
                    assert_eq!(member.traffic().bytes, 200 * (2 * 3 + 2));
                });
            }
        });
    }

    #[test]
    fn who_gives_up_is_named_by_the_others() {
        let mut team = Threads::team(2);
        let (second, first) = (team.pop().unwrap(), team.pop().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || second.abort("no pictures"));
            let error = first.barrier().unwrap_err().to_string();
            assert_eq!(error, "process 1 of 2 gave up: no pictures");
        });
    }
}

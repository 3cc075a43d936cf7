//! Processes that work on one thing together: who they are, and how they exchange numbers.
//!
//! [`Collective`] is what a program asks for; [`Alone`] is the only process, [`Threads`] are several within one
//! program (tests), `mpi::Mpi` those that `mpirun`, `srun` or an MPI job started (feature `mpi`), `nccl::Nccl` the same
//! with a card each (feature `nccl`). Sums are taken in the order of ranks, whatever the network does, so that a run can be repeated to the last digit.
#![warn(missing_docs)]

mod alone;
mod launch;
mod meanwhile;
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "nccl")]
pub mod nccl;
mod sum;
mod threads;

pub use alone::Alone;
pub use launch::{CAN_JOIN, Launch, join};
pub use meanwhile::meanwhile;
pub use sum::{Width, all_gather_floats, any, part, reduce_scatter, sum};
pub use threads::Threads;

use std::fmt::Debug;
use std::time::Duration;

/// Why processes can no longer work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectiveError {
    /// Another process gave up.
    #[error("process {rank} of {size} gave up: {reason}")]
    Aborted {
        /// Its number.
        rank: usize,
        /// Number of processes.
        size: usize,
        /// What it said.
        reason: String,
    },
    /// Several processes were started by a program that cannot join them.
    #[error(
        "{size} processes were started together ({variable}), but this program was built without the feature `mpi` and \
         each would do everything; build it with `--features mpi`, or start one process"
    )]
    NotBuiltIn {
        /// Number of processes.
        size: usize,
        /// What says so.
        variable: &'static str,
    },
    /// The library that connects processes failed.
    #[error("MPI: {0}")]
    Library(String),
    /// The library that connects cards failed.
    #[error("NCCL: {0}")]
    Cards(String),
    /// What was received is not what was asked for.
    #[error("{0}")]
    Received(String),
}

/// What was sent, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes that this process sent to others.
    pub bytes: u64,
    /// Time spent in exchanges, waiting for others included.
    pub time: Duration,
}

impl std::ops::Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            time: self.time.saturating_sub(before.time),
        }
    }
}

/// A group of processes. All of them make the same calls in the same order.
pub trait Collective: Debug + Send + Sync {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Name of this process's machine.
    fn host(&self) -> String;

    /// Sends each process its part; returns what each sent to this one, in the order of ranks.
    ///
    /// # Errors
    /// `Aborted` if another process gave up.
    ///
    /// # Panics
    /// If there is not a part for each process.
    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// What every process has, in the order of ranks; lengths may differ.
    ///
    /// # Errors
    /// `Aborted` if another process gave up.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Waits for all.
    ///
    /// # Errors
    /// `Aborted` if another process gave up.
    fn barrier(&self) -> Result<(), CollectiveError> {
        self.all_gather(&[]).map(|_| ())
    }

    /// Where this process is, for what the others are told if it gives up: `step 12`.
    fn note(&self, place: &str) {
        let _ = place;
    }

    /// Gives up: every other process ends, too, or finds out at its next call.
    fn abort(&self, reason: &str);

    /// What was sent so far.
    fn traffic(&self) -> Traffic;

    /// Whether this process speaks for all: writes what is written once, and shows progress.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

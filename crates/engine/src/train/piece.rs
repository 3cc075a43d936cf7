//! Who computes what of a step. A step's rows, and the noise of each, are the same however many processes share it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Rows of a micro-batch that one process computes at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Number of the micro-batch in the run.
    pub index: u64,
    /// Its rows that are computed.
    pub rows: Range<usize>,
    /// Rows of the whole micro-batch.
    pub of: usize,
}

impl Piece {
    /// A whole micro-batch.
    pub fn whole(index: u64, rows: usize) -> Self {
        Self {
            index,
            rows: 0..rows,
            of: rows,
        }
    }

    /// Number of its first row in the run.
    pub fn first_row(&self) -> u64 {
        self.index * self.of as u64 + self.rows.start as u64
    }
}

/// How a step is shared: in pieces of equal size, the same number for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Micro-batches of a step.
    micros: u64,
    /// Rows of a micro-batch.
    rows: usize,
    /// Pieces of a micro-batch.
    cuts: usize,
    rank: u64,
    processes: u64,
}

impl Plan {
    /// The share of process `rank` of `processes` in steps of `accumulate` micro-batches of `rows` rows (1 for what
    /// cannot be cut).
    ///
    /// # Errors
    /// `Config` if there are more processes than rows.
    pub fn new(
        accumulate: u64,
        rows: usize,
        (rank, processes): (usize, usize),
    ) -> Result<Self, EngineError> {
        let cuts = processes / greatest_common_divisor(accumulate as usize, processes);
        if cuts > rows {
            return Err(EngineError::Config(format!(
                "{processes} processes cannot share a step of train.accumulate = {accumulate} micro-batches of {rows} \
                 {} each; choose train.accumulate as a multiple of the number of processes",
                if rows == 1 { "piece" } else { "rows" }
            )));
        }
        Ok(Self {
            micros: accumulate,
            rows,
            cuts,
            rank: rank as u64,
            processes: processes as u64,
        })
    }

    /// Pieces of a step for each process.
    pub fn per_step(&self) -> u64 {
        self.micros * self.cuts as u64 / self.processes
    }

    /// This process's piece number `count`, counted from the beginning of the run.
    pub fn piece(&self, count: u64) -> Piece {
        // Whoever is next takes the next piece, so that all work on the same micro-batch at a time.
        let number = count * self.processes + self.rank;
        let (index, cut) = (
            number / self.cuts as u64,
            (number % self.cuts as u64) as usize,
        );
        Piece {
            index,
            rows: self.rows * cut / self.cuts..self.rows * (cut + 1) / self.cuts,
            of: self.rows,
        }
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the run that all processes compute in a step, in order.
    fn rows(accumulate: u64, rows: usize, processes: usize, step: u64) -> Vec<u64> {
        let mut found = Vec::new();
        for rank in 0..processes {
            let plan = Plan::new(accumulate, rows, (rank, processes)).unwrap();
            let each = plan.per_step();
            for count in step * each..(step + 1) * each {
                let piece = plan.piece(count);
                let first = piece.first_row();
                found.extend(first..first + piece.rows.len() as u64);
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn every_row_is_computed_once_whoever_computes_it() {
        for step in [0, 5] {
            for (accumulate, batch) in [(1, 8), (4, 8), (6, 3), (3, 5)] {
                let count = accumulate * batch as u64;
                let expected: Vec<u64> = (step * count..(step + 1) * count).collect();
                for processes in 1..=4 {
                    let cuts = processes / greatest_common_divisor(accumulate as usize, processes);
                    if cuts <= batch {
                        assert_eq!(rows(accumulate, batch, processes, step), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_shared_whole_or_refused() {
        assert_eq!(rows(4, 1, 2, 3), [12, 13, 14, 15]);
        let refused = Plan::new(3, 1, (0, 2)).unwrap_err().to_string();
        assert!(
            refused.contains("multiple of the number of processes"),
            "{refused}"
        );
        let refused = Plan::new(1, 2, (0, 3)).unwrap_err().to_string();
        assert!(refused.contains("2 rows"), "{refused}");
    }
}

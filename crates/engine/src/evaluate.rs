//! Measuring a model: questions in, one JSON line per question out, figures from the lines.

mod records;
mod runner;
mod score;

pub use records::{Record, RecordFile};
pub use runner::{Reply, Runner};
pub use score::{Answers, verdict};

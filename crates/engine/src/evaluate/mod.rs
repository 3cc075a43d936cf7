//! Measuring a model: questions in, one JSON line per question out, figures from the lines.

mod benchmarks;
mod control;
mod records;
mod runner;
mod score;

pub use benchmarks::{benchmarks, text_options};
pub use control::shuffled_images;
pub use records::{Record, RecordFile};
pub use runner::{Reply, Runner};
pub use score::{Answers, verdict};

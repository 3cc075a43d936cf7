//! Measuring a model: a benchmark's questions in, one JSON line per question out, figures from the lines.
//!
//! A [`Benchmark`] is a value: it reads its questions from a folder (in `deem_data::benchmark`), says how each is asked
//! and had answered, and arranges what the answers are worth as [`deem_metrics::figures`]. One file a benchmark here, one
//! line in [`BenchmarkRegistry::standard`]; everything else goes by what the registry holds.

mod answers;
mod benchmark;
mod evaluation;
mod exam;
mod mmvp;
mod pope;
mod records;
mod region;
mod registry;
mod robust_vqa;
mod runner;
mod summary;
mod verdict;
mod yes_no;

pub use answers::Answers;
pub use benchmark::{AnswerForm, Answered, Answering, Benchmark, Question, Worth};
pub use evaluation::{Evaluation, ModelIdentity, weights_digest};
pub use exam::Exam;
pub use mmvp::Mmvp;
pub use pope::Pope;
pub use records::{Likelihood, Record, RecordFile};
pub use region::Region;
pub use registry::BenchmarkRegistry;
pub use robust_vqa::RobustVqa;
pub use runner::{Reply, Runner};
pub use summary::{summary, table};
pub use verdict::{parsed, verdict};

//! Measuring a model: a benchmark's questions in, one JSON line per question out, figures from the lines.
//!
//! A [`Benchmark`] is a value: it reads its questions from a folder (in `deem_data::benchmark`), says how each is asked
//! and had answered, and arranges what the answers are worth as [`deem_metrics::figures`]. One file a benchmark here, one
//! line in [`BenchmarkRegistry::standard`]; everything else goes by what the registry holds.

mod answers;
mod benchmark;
mod captions;
mod comparison;
mod drawing;
mod encoder;
mod evaluation;
mod exam;
mod examiner;
mod gqa;
mod mmbench;
mod mmvp;
mod mmvp_vlm;
mod parts;
mod pope;
mod ranked;
mod records;
mod region;
mod registry;
mod retrieval;
mod robust_vqa;
mod runner;
mod saved;
mod shard;
mod summary;
mod text_to_image;
mod verdict;
mod visdial;
mod vqa;
mod yes_no;
mod zero_shot;

pub use answers::Answers;
pub use benchmark::{AnswerForm, Answered, Answering, Asked, Benchmark, Question, Worth};
pub use captions::Captions;
pub use comparison::{Compared, Comparison, compare};
pub use drawing::{Draw, DrawingExaminer};
pub use encoder::EncoderExaminer;
pub use evaluation::{Evaluation, ModelIdentity, weights_digest};
pub use exam::Exam;
pub use examiner::Examiner;
pub use gqa::Gqa;
pub use mmbench::MmBench;
pub use mmvp::Mmvp;
pub use mmvp_vlm::MmvpVlm;
pub use pope::Pope;
pub use records::{Likelihood, Record, RecordFile, saved_records};
pub use region::Region;
pub use registry::BenchmarkRegistry;
pub use retrieval::Retrieval;
pub use robust_vqa::RobustVqa;
pub use runner::{Reply, Runner};
pub use saved::SavedRun;
pub use shard::Shard;
pub use summary::{summary, table};
pub use text_to_image::TextToImage;
pub use verdict::{parsed, value, verdict};
pub use visdial::VisDial;
pub use vqa::Vqa;
pub use zero_shot::ZeroShot;

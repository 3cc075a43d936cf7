//! From what a model said to what it answered.
//!
//! Two modes: [`ParseMode::Strict`] reads whole words, treats answer and truth alike, and returns nothing where the
//! answer is not clear, so that it is counted as unparseable instead of guessed. [`ParseMode::Paper`] does what the
//! official DEEM code does, substring quirks included, for comparison with published numbers.
//!
//! [`judge`] decides whether an answer is right, for scores and for display alike.

mod choice;
mod extract;
mod judge;
mod normalize;
mod yes_no;

pub use choice::parse_choice;
pub use extract::extract_answer;
pub use judge::{AnswerKind, Verdict, judge};
pub(crate) use normalize::is_python_space;
pub use normalize::{exact_match, normalize, normalize_vqa};
pub use yes_no::{YesNo, parse_yes_no};

use serde::{Deserialize, Serialize};

/// How answers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParseMode {
    /// Whole words, both sides normalised, unclear answers are unparseable.
    #[default]
    Strict,
    /// As the official code: the prediction is cut at substrings, the truth is only lower-cased.
    Paper,
}

//! Scores for predictions in the files that other programs write: text in, named numbers out.
//!
//! One file a family. [`SCORERS`] lists them; `docs/evaluation.md` shows each format.

mod captions;
mod choice;
mod features;
mod frechet;
mod gqa;
mod input;
mod mmvp;
mod ndcg;
mod scorer;
mod vqa;
mod yes_no;

pub use features::{FeatureNetwork, Features};
pub use frechet::frechet_scores;
pub use input::{Input, PredictionError};
pub use scorer::{SCORERS, Scorer, Scores, scorer};
